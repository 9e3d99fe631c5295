/* Keccak-256 (the original padding, as Ethereum uses it), in C on 64-bit lanes.
 *
 * One permutation is 24 rounds, written two at a time between two sets of 25 lanes so that no round copies state.
 * Lane (x, y) of the specification is index x + 5 y; rotation offsets are those of FIPS 202 table 2, round constants
 * those of FIPS 202 section 3.2.5.
 */
#ifndef INVMM_KECCAK_H
#define INVMM_KECCAK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INVMM_KECCAK_RATE 136 /* bytes taken per permutation: 200 - 2 * 32 */

static const uint64_t invmm_keccak_constants[24] = {
    0x0000000000000001ULL, 0x0000000000008082ULL, 0x800000000000808aULL, 0x8000000080008000ULL,
    0x000000000000808bULL, 0x0000000080000001ULL, 0x8000000080008081ULL, 0x8000000000008009ULL,
    0x000000000000008aULL, 0x0000000000000088ULL, 0x0000000080008009ULL, 0x000000008000000aULL,
    0x000000008000808bULL, 0x800000000000008bULL, 0x8000000000008089ULL, 0x8000000000008003ULL,
    0x8000000000008002ULL, 0x8000000000000080ULL, 0x000000000000800aULL, 0x800000008000000aULL,
    0x8000000080008081ULL, 0x8000000000008080ULL, 0x0000000080000001ULL, 0x8000000080008008ULL,
};

/* Offsets are 1..63, so neither shift is by the width of the word. */
#define INVMM_ROTATE(v, n) (((v) << (n)) | ((v) >> (64 - (n))))

/* One row of the output: five rotated lanes of the input, then the nonlinear step. */
#define INVMM_ROW(out, base, b0, b1, b2, b3, b4) \
    do {                                         \
        const uint64_t p0 = (b0), p1 = (b1), p2 = (b2), p3 = (b3), p4 = (b4); \
        out[(base) + 0] = p0 ^ (~p1 & p2);       \
        out[(base) + 1] = p1 ^ (~p2 & p3);       \
        out[(base) + 2] = p2 ^ (~p3 & p4);       \
        out[(base) + 3] = p3 ^ (~p4 & p0);       \
        out[(base) + 4] = p4 ^ (~p0 & p1);       \
    } while (0)

#define INVMM_ROUND(in, out, constant)                                                             \
    do {                                                                                           \
        const uint64_t c0 = in[0] ^ in[5] ^ in[10] ^ in[15] ^ in[20];                              \
        const uint64_t c1 = in[1] ^ in[6] ^ in[11] ^ in[16] ^ in[21];                              \
        const uint64_t c2 = in[2] ^ in[7] ^ in[12] ^ in[17] ^ in[22];                              \
        const uint64_t c3 = in[3] ^ in[8] ^ in[13] ^ in[18] ^ in[23];                              \
        const uint64_t c4 = in[4] ^ in[9] ^ in[14] ^ in[19] ^ in[24];                              \
        const uint64_t d0 = c4 ^ INVMM_ROTATE(c1, 1), d1 = c0 ^ INVMM_ROTATE(c2, 1);               \
        const uint64_t d2 = c1 ^ INVMM_ROTATE(c3, 1), d3 = c2 ^ INVMM_ROTATE(c4, 1);               \
        const uint64_t d4 = c3 ^ INVMM_ROTATE(c0, 1);                                              \
        INVMM_ROW(out, 0, in[0] ^ d0, INVMM_ROTATE(in[6] ^ d1, 44), INVMM_ROTATE(in[12] ^ d2, 43), \
                  INVMM_ROTATE(in[18] ^ d3, 21), INVMM_ROTATE(in[24] ^ d4, 14));                   \
        out[0] ^= (constant);                                                                      \
        INVMM_ROW(out, 5, INVMM_ROTATE(in[3] ^ d3, 28), INVMM_ROTATE(in[9] ^ d4, 20),              \
                  INVMM_ROTATE(in[10] ^ d0, 3), INVMM_ROTATE(in[16] ^ d1, 45),                     \
                  INVMM_ROTATE(in[22] ^ d2, 61));                                                  \
        INVMM_ROW(out, 10, INVMM_ROTATE(in[1] ^ d1, 1), INVMM_ROTATE(in[7] ^ d2, 6),               \
                  INVMM_ROTATE(in[13] ^ d3, 25), INVMM_ROTATE(in[19] ^ d4, 8),                     \
                  INVMM_ROTATE(in[20] ^ d0, 18));                                                  \
        INVMM_ROW(out, 15, INVMM_ROTATE(in[4] ^ d4, 27), INVMM_ROTATE(in[5] ^ d0, 36),             \
                  INVMM_ROTATE(in[11] ^ d1, 10), INVMM_ROTATE(in[17] ^ d2, 15),                    \
                  INVMM_ROTATE(in[23] ^ d3, 56));                                                  \
        INVMM_ROW(out, 20, INVMM_ROTATE(in[2] ^ d2, 62), INVMM_ROTATE(in[8] ^ d3, 55),             \
                  INVMM_ROTATE(in[14] ^ d4, 39), INVMM_ROTATE(in[15] ^ d0, 41),                    \
                  INVMM_ROTATE(in[21] ^ d1, 2));                                                   \
    } while (0)

#define INVMM_PERMUTE_BODY                                       \
    uint64_t a[25], e[25];                                       \
    memcpy(a, state, sizeof a);                                  \
    for (int round = 0; round < 24; round += 2) {                \
        INVMM_ROUND(a, e, invmm_keccak_constants[round]);        \
        INVMM_ROUND(e, a, invmm_keccak_constants[round + 1]);    \
    }                                                            \
    memcpy(state, a, sizeof a);

typedef void (*invmm_permute_t)(uint64_t state[25]);

static void invmm_keccak_permute_portable(uint64_t state[25]) { INVMM_PERMUTE_BODY }

#if defined(__x86_64__) && defined(__GNUC__)
/* The same code where the compiler may use and-not and three-operand rotates: a third faster. */
__attribute__((target("bmi,bmi2"))) static void invmm_keccak_permute_bmi(uint64_t state[25]) { INVMM_PERMUTE_BODY }

static invmm_permute_t invmm_keccak_permute = invmm_keccak_permute_portable;

/* Chosen while the module is loaded, before any thread can hash. */
__attribute__((constructor)) static void invmm_keccak_choose(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")) invmm_keccak_permute = invmm_keccak_permute_bmi;
}
#else
#define invmm_keccak_permute invmm_keccak_permute_portable
#endif

static inline uint64_t invmm_load64_little(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/* Keccak-256 of `size` bytes at `data` into `out` (32 bytes). */
static void invmm_keccak256(const uint8_t *data, size_t size, uint8_t *out) {
    uint64_t state[25] = {0};
    uint8_t last[INVMM_KECCAK_RATE];
    while (size >= INVMM_KECCAK_RATE) {
        for (int lane = 0; lane < INVMM_KECCAK_RATE / 8; lane++) state[lane] ^= invmm_load64_little(data + 8 * lane);
        invmm_keccak_permute(state);
        data += INVMM_KECCAK_RATE;
        size -= INVMM_KECCAK_RATE;
    }
    memset(last, 0, sizeof last);
    if (size) memcpy(last, data, size);
    last[size] = 0x01; /* SHA-3 proper would write 0x06 */
    last[INVMM_KECCAK_RATE - 1] |= 0x80;
    for (int lane = 0; lane < INVMM_KECCAK_RATE / 8; lane++) state[lane] ^= invmm_load64_little(last + 8 * lane);
    invmm_keccak_permute(state);
    for (int byte = 0; byte < 32; byte++) out[byte] = (uint8_t)(state[byte / 8] >> (8 * (byte % 8)));
}

#endif
