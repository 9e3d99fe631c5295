/* Sample standard deviation of log returns, correctly rounded.
 *
 * Python's statistics.stdev computes it in fractions and rounds once, at the end; a sum in doubles would differ
 * from it in the last bit. Here the same is done in whole numbers. The logarithm of a ratio of doubles is below
 * 2^10 in size and, being at least 2^-53 unless it is 0, a multiple of 2^-106. As multiples of that, n <= 1024
 * returns have sums below 2^126, sums of squares below 2^242, and n * sum of squares below 2^252.
 */
#ifndef INVMM_DEVIATION_H
#define INVMM_DEVIATION_H

#include <math.h>
#include <stdint.h>

#define DEVIATION_MAX 1024

typedef unsigned __int128 u128_t;

typedef struct {
    uint64_t limb[4]; /* lowest first */
} u256_t;

static inline u256_t u256_square(u128_t x) {
    const uint64_t low = (uint64_t)x, high = (uint64_t)(x >> 64);
    const u128_t ll = (u128_t)low * low, lh = (u128_t)low * high, hh = (u128_t)high * high;
    u256_t r;
    u128_t middle = (ll >> 64) + ((u128_t)(uint64_t)lh << 1); /* below 2^66 */
    r.limb[0] = (uint64_t)ll;
    r.limb[1] = (uint64_t)middle;
    middle = (middle >> 64) + ((lh >> 64) << 1) + (uint64_t)hh;
    r.limb[2] = (uint64_t)middle;
    r.limb[3] = (uint64_t)(hh >> 64) + (uint64_t)(middle >> 64);
    return r;
}

static inline void u256_add(u256_t *a, const u256_t *b) {
    u128_t sum = 0;
    for (int i = 0; i < 4; i++) {
        sum += (u128_t)a->limb[i] + b->limb[i];
        a->limb[i] = (uint64_t)sum;
        sum >>= 64;
    }
}

static inline void u256_subtract(u256_t *a, const u256_t *b) {
    uint64_t borrow = 0;
    for (int i = 0; i < 4; i++) {
        const u128_t taken = (u128_t)b->limb[i] + borrow;
        borrow = a->limb[i] < taken;
        a->limb[i] -= (uint64_t)taken;
    }
}

static inline void u256_times(u256_t *a, uint64_t factor) {
    u128_t carry = 0;
    for (int i = 0; i < 4; i++) {
        carry += (u128_t)a->limb[i] * factor;
        a->limb[i] = (uint64_t)carry;
        carry >>= 64;
    }
}

static inline int u256_bits(const u256_t *a) {
    for (int i = 3; i >= 0; i--)
        if (a->limb[i]) return 64 * i + 64 - __builtin_clzll(a->limb[i]);
    return 0;
}

/* Shifts left (or right, for a negative count) by an even number of bits; whether a 1 fell out on the right. */
static inline int u256_shift(u256_t *a, int bits) {
    int lost = 0;
    for (; bits > 0; bits -= 2) {
        for (int i = 3; i > 0; i--) a->limb[i] = a->limb[i] << 2 | a->limb[i - 1] >> 62;
        a->limb[0] <<= 2;
    }
    for (; bits < 0; bits += 2) {
        lost |= (a->limb[0] & 3) != 0;
        for (int i = 0; i < 3; i++) a->limb[i] = a->limb[i] >> 2 | a->limb[i + 1] << 62;
        a->limb[3] >>= 2;
    }
    return lost;
}

/* The square root of x < 2^124, rounded down. */
static inline uint64_t u128_root(u128_t x) {
    uint64_t root = (uint64_t)sqrt((double)x);
    for (int i = 0; i < 3 && root; i++) root = (uint64_t)((x / root + root) / 2);
    while ((u128_t)root * root > x) root--;
    while ((u128_t)(root + 1) * (root + 1) <= x) root++;
    return root;
}

/* Standard deviation of `returns`, 2 <= n <= DEVIATION_MAX; below 0 if one of them is no logarithm of a ratio
 * of doubles (not finite, too large). */
static double sample_deviation(const double *returns, int n) {
    __int128 sum = 0;
    u256_t squares = {{0, 0, 0, 0}}, square;
    if (n < 2 || n > DEVIATION_MAX) return -1.0;
    for (int i = 0; i < n; i++) {
        if (!(fabs(returns[i]) < 1024.0)) return -1.0;
        const __int128 whole = (__int128)(returns[i] * 0x1p106);
        sum += whole;
        square = u256_square((u128_t)(whole < 0 ? -whole : whole));
        u256_add(&squares, &square);
    }
    /* variance = (n * squares - sum^2) / (n * (n - 1)), in 2^-212 */
    u256_times(&squares, (uint64_t)n);
    square = u256_square((u128_t)(sum < 0 ? -sum : sum));
    u256_subtract(&squares, &square);
    const int bits = u256_bits(&squares);
    if (bits == 0) return 0.0;
    /* Shifted so that the quotient has 120 to 123 bits: the root has 60 or more, 53 are wanted. */
    const uint64_t divisor = (uint64_t)n * (uint64_t)(n - 1);
    int up = 121 + 64 - __builtin_clzll(divisor) - bits;
    up += up & 1;
    int inexact = u256_shift(&squares, up);
    u128_t rest = 0, quotient = 0;
    for (int i = 3; i >= 0; i--) {
        const u128_t part = rest << 64 | squares.limb[i];
        quotient = quotient << 64 | (uint64_t)(part / divisor);
        rest = part % divisor;
    }
    const uint64_t root = u128_root(quotient);
    inexact |= rest != 0 || (u128_t)root * root != quotient;
    /* Odd when inexact: then the one rounding to 53 bits is the right one. */
    return ldexp((double)(root | (uint64_t)(inexact != 0)), -up / 2 - 106);
}

#endif
