/* Reading decimal text, digits eight at a time.
 *
 * The `_at` readers look at a fixed number of bytes from p, which the caller has made sure are readable, and
 * answer only for the forms the venue writes; -1 sends the caller to `decimal_exact`, which takes every form.
 * Digits are read in parallel after D. Lemire and W. Mula's "8 digits in 3 multiplications" idea.
 */
#ifndef INVMM_DIGITS_H
#define INVMM_DIGITS_H

#include "text.h"

#define SIZE_LIMIT_MICRO 1000000000000000000ll /* 1e12 shares: more than there are dollars */

enum { DECIMAL_OK = 0, DECIMAL_SYNTAX, DECIMAL_NEGATIVE, DECIMAL_PRECISION, DECIMAL_RANGE };

/* Nonzero when a byte of `digits` (text xor '0's) is not 0...9. */
INLINE uint64_t not_digits(uint64_t digits)
{
    return (digits | (digits + ALL_BYTES(0x76))) & ALL_BYTES(0x80);
}

/* Value of eight digit bytes, the first in the lowest byte. */
INLINE uint64_t eight_digits(uint64_t digits)
{
    digits = digits * 10 + (digits >> 8);
    return ((digits & 0x000000FF000000FFull) * 0x000F424000000064ull
            + ((digits >> 16) & 0x000000FF000000FFull) * 0x0000271000000001ull) >> 32;
}

INLINE int first_quote_8(uint64_t text)
{
    uint64_t x = text ^ ALL_BYTES('"');
    uint64_t zeros = (x - ALL_BYTES(1)) & ~x & ALL_BYTES(0x80);
    return zeros ? __builtin_ctzll(zeros) >> 3 : 8;
}

/* Four decimals at most, `0.d` to `0.dddd`, then a quote: price_e4 (0 for 0.0) and its length, or -1. Reads 8 bytes. */
INLINE int32_t price_at(const char *p, int *length)
{
    if (LIKELY(p[4] == '"')) {
        /* Most prices are whole cents. A predicted length lets the next field be read before this one is. */
        uint32_t cents = load_4(p) ^ 0x30302e30u; /* "0.00" */
        if (UNLIKELY((cents | (cents + 0x76760000u)) & 0x8080ffffu)) return -1;
        *length = 4;
        return (int32_t)((cents >> 16 & 0xff) * 1000 + (cents >> 24) * 100);
    } else if (p[3] == '"') {
        uint32_t tenths = load_4(p) ^ 0x22302e30u; /* "0.0" and the quote */
        if (UNLIKELY((tenths | (tenths + 0x760000u)) & 0xff80ffffu)) return -1;
        *length = 3;
        return (int32_t)(tenths >> 16) * 1000;
    } else {
        uint64_t text = load_8(p);
        uint32_t digits, pairs;
        int n = first_quote_8(text);
        if (UNLIKELY((unsigned)(n - 5) > 1 || (text & 0xffff) != 0x2e30)) return -1; /* "0." */
        digits = (uint32_t)(((text >> 16) ^ ALL_BYTES('0')) & (((uint64_t)1 << (8 * (n - 2))) - 1));
        if (UNLIKELY(not_digits(digits))) return -1;
        *length = n;
        pairs = digits * 10 + (digits >> 8);
        return (int32_t)((pairs & 0xff) * 100 + ((pairs >> 16) & 0xff));
    }
}

/* The same, and `0` or `1`, by which the venue says that a side is empty. Reads 8 bytes. */
INLINE int32_t best_at(const char *p, int *length)
{
    int32_t price = price_at(p, length);
    if (LIKELY(price >= 0)) return price;
    *length = 1;
    return p[1] != '"' ? -1 : p[0] == '0' ? 0 : p[0] == '1' ? 10000 : -1;
}

/* Up to 8 digits, up to 6 decimals, a quote within 16 bytes: micro-shares and the length, or -1. Reads 18 bytes. */
INLINE int64_t size_at(const char *p, int *length)
{
    static const int32_t unit_micro[8] = {1000000, 100000, 10000, 1000, 100, 10, 1, 0};
    uint32_t quotes = equal_16(p, '"');
    uint32_t dots = equal_16(p, '.');
    int n, whole_digits, decimals, pointed;
    if (UNLIKELY(!quotes)) return -1;
    n = __builtin_ctz(quotes);
    whole_digits = __builtin_ctz(dots | (uint32_t)1 << n); /* the first dot, if it stands before the quote */
    pointed = whole_digits < n;
    decimals = n - whole_digits - pointed;
    *length = n;
    if (UNLIKELY(whole_digits == 0)) return -1;
    if (LIKELY(n <= 8)) {
        /* The last byte goes to the top; what stands below the point moves up over it; then it is one number. */
        uint64_t text = (load_8(p) ^ ALL_BYTES('0')) << (64 - 8 * n);
        uint64_t below = ~(uint64_t)0 >> (8 * (n - whole_digits));
        uint64_t digits = (text & (~below << 8)) | (text & below) << (8 * pointed);
        if (UNLIKELY(not_digits(digits))) return -1;
        return (int64_t)(eight_digits(digits) * (uint64_t)unit_micro[decimals]);
    } else {
        uint64_t whole, fraction;
        if (UNLIKELY(whole_digits > 8 || decimals > 6)) return -1;
        whole = (load_8(p) ^ ALL_BYTES('0')) << (64 - 8 * whole_digits);
        fraction = (load_8(p + whole_digits + 1) ^ ALL_BYTES('0')) & (((uint64_t)1 << (8 * decimals)) - 1);
        if (UNLIKELY(not_digits(whole) | not_digits(fraction))) return -1;
        return (int64_t)(eight_digits(whole) * 1000000 + eight_digits(fraction << 16));
    }
}

/* Thirteen digits, a millisecond timestamp of this age; -1 otherwise. Reads 13 bytes. */
INLINE int64_t milliseconds_at(const char *p)
{
    uint64_t high = load_8(p) ^ ALL_BYTES('0');
    uint64_t low = (load_8(p + 5) ^ ALL_BYTES('0')) & ~(uint64_t)0xffffff;
    if (UNLIKELY(not_digits(high) | not_digits(low))) return -1;
    return (int64_t)(eight_digits(high) * 100000 + eight_digits(low));
}

/* Exact value of `digits[.digits][e[+-]digits]` times 10^scale, not above limit. DECIMAL_OK or why not. */
static int decimal_exact(const char *p, ptrdiff_t n, int scale, int64_t limit, int64_t *value)
{
    const char *end = p + n;
    uint64_t mantissa = 0;
    int64_t exponent = 0, stated = 0, zeros = 0; /* zeros: seen, but not yet multiplied in */
    int digits = 0, significant = 0, after_point = 0, too_long = 0;
    if (p < end && *p == '-') return DECIMAL_NEGATIVE;
    for (; p < end; p++) {
        if (*p == '.') {
            if (after_point) return DECIMAL_SYNTAX;
            after_point = 1;
            continue;
        }
        if (*p < '0' || *p > '9') break;
        digits = 1;
        if (after_point) exponent--;
        zeros++;
        if (*p == '0') continue;
        if (significant == 0) zeros = 1;
        if (significant + zeros > 18) {
            too_long = 1; /* 19 significant digits: too large or too fine, whatever follows */
        } else {
            for (significant += (int)zeros; zeros > 1; zeros--) mantissa *= 10;
            mantissa = mantissa * 10 + (uint64_t)(*p - '0');
        }
        zeros = 0;
    }
    if (!digits) return DECIMAL_SYNTAX;
    if (p < end) {
        int negative = 0;
        if (*p != 'e' && *p != 'E') return DECIMAL_SYNTAX;
        if (++p < end && (*p == '-' || *p == '+')) negative = *p++ == '-';
        if (p == end) return DECIMAL_SYNTAX;
        for (; p < end; p++) {
            if (*p < '0' || *p > '9') return DECIMAL_SYNTAX;
            if (stated < 1000000) stated = stated * 10 + (*p - '0');
        }
        if (negative) stated = -stated;
    }
    if (too_long) return DECIMAL_PRECISION;
    *value = 0;
    if (mantissa == 0) return DECIMAL_OK;
    exponent += stated + zeros + scale;
    if (exponent < 0) return DECIMAL_PRECISION;
    for (; exponent > 0; exponent--) {
        if (mantissa > (uint64_t)limit / 10) return DECIMAL_RANGE;
        mantissa *= 10;
    }
    if (mantissa > (uint64_t)limit) return DECIMAL_RANGE;
    *value = (int64_t)mantissa;
    return DECIMAL_OK;
}

#endif
