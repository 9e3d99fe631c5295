/* Reading decimal text: wide loads, literal compares, digits eight at a time.
 *
 * The `_at` readers look at a fixed number of bytes from p, which the caller has made sure are readable, and
 * answer only for the forms the venue writes; -1 sends the caller to `decimal_exact`, which takes every form.
 * Digits are read in parallel after D. Lemire and W. Mula's "8 digits in 3 multiplications" idea.
 */
#ifndef INVMM_DIGITS_H
#define INVMM_DIGITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "digits are read as little-endian words"
#endif

#ifdef __SSE2__ /* part of every x86-64; elsewhere the loops below */
#include <emmintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ALL_BYTES(c) (0x0101010101010101ull * (uint8_t)(c))
#define SIZE_LIMIT_MICRO 1000000000000000000ll /* 1e12 shares: more than there are dollars */

enum { DECIMAL_OK = 0, DECIMAL_SYNTAX, DECIMAL_NEGATIVE, DECIMAL_PRECISION, DECIMAL_RANGE };

INLINE uint64_t load_8(const char *p) { uint64_t v; memcpy(&v, p, 8); return v; }
INLINE uint32_t load_4(const char *p) { uint32_t v; memcpy(&v, p, 4); return v; }

/* Zero when the n bytes at p equal the literal; n is a constant, so this is a few loads and xors. */
INLINE uint64_t differs(const char *p, const char *literal, size_t n)
{
    uint64_t difference = 0;
    size_t i;
    if (n < 8) {
        for (i = 0; i < n; i++) difference |= (uint8_t)(p[i] ^ literal[i]);
        return difference;
    }
    for (i = 0; i + 8 <= n; i += 8) difference |= load_8(p + i) ^ load_8(literal + i);
    if (n & 7) difference |= load_8(p + n - 8) ^ load_8(literal + n - 8);
    return difference;
}
#define DIFFERS(p, literal) differs((p), (literal), sizeof(literal) - 1)

/* One bit per byte of the 16 at p that equals c. */
INLINE uint32_t equal_16(const char *p, char c)
{
#ifdef __SSE2__
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8(c)));
#else
    uint32_t mask = 0;
    for (int i = 0; i < 16; i++) mask |= (uint32_t)(p[i] == c) << i;
    return mask;
#endif
}

/* One bit per byte of the 16 at p that cannot stand unescaped in an ASCII JSON string, or ends it. */
INLINE uint32_t special_16(const char *p)
{
#ifdef __SSE2__
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    __m128i odd = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('"')), _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(odd, _mm_cmplt_epi8(x, _mm_set1_epi8(' '))));
#else
    uint32_t mask = 0;
    for (int i = 0; i < 16; i++)
        mask |= (uint32_t)(p[i] == '"' || p[i] == '\\' || (signed char)p[i] < ' ') << i;
    return mask;
#endif
}

/* Nonzero when one of the n bytes at p (n a constant, at least 16) is special. */
INLINE uint32_t special_in(const char *p, size_t n)
{
    uint32_t found = 0;
    size_t i;
    for (i = 0; i + 16 <= n; i += 16) found |= special_16(p + i);
    if (n & 15) found |= special_16(p + n - 16);
    return found;
}

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
    uint64_t text = load_8(p);
    uint32_t digits = (uint32_t)text ^ 0x30302e30u, pairs; /* "0.00" */
    int n;
    if (LIKELY(p[4] == '"')) {
        /* Most prices are whole cents. A predicted length lets the next field be read before this one is. */
        if (UNLIKELY((digits & 0xffff) != 0 || not_digits(digits))) return -1;
        *length = 4;
        return (int32_t)((digits >> 16 & 0xff) * 1000 + (digits >> 24) * 100);
    }
    n = first_quote_8(text);
    if (UNLIKELY((unsigned)(n - 3) > 3 || (text & 0xffff) != 0x2e30)) return -1; /* "0." */
    digits = (uint32_t)(((text >> 16) ^ ALL_BYTES('0')) & (((uint64_t)1 << (8 * (n - 2))) - 1));
    if (UNLIKELY(not_digits(digits))) return -1;
    *length = n;
    pairs = digits * 10 + (digits >> 8);
    return (int32_t)((pairs & 0xff) * 100 + ((pairs >> 16) & 0xff));
}

/* The same, and `0` or `1`, by which the venue says that a side is empty. Reads 8 bytes. */
INLINE int32_t best_at(const char *p, int *length)
{
    if (UNLIKELY(p[1] == '"')) {
        *length = 1;
        return p[0] == '0' ? 0 : p[0] == '1' ? 10000 : -1;
    }
    return price_at(p, length);
}

/* Up to 8 digits, up to 6 decimals, a quote within 16 bytes: micro-shares and the length, or -1. Reads 18 bytes. */
INLINE int64_t size_at(const char *p, int *length)
{
    uint32_t quotes = equal_16(p, '"');
    uint32_t dots = equal_16(p, '.');
    int n, whole_digits, decimals;
    uint64_t whole, fraction;
    if (UNLIKELY(!quotes)) return -1;
    n = __builtin_ctz(quotes);
    whole_digits = __builtin_ctz(dots | (uint32_t)1 << n); /* the first dot, if it stands before the quote */
    decimals = n - whole_digits - (whole_digits < n);
    if (UNLIKELY((unsigned)(whole_digits - 1) > 7 || decimals > 6)) return -1;
    whole = (load_8(p) ^ ALL_BYTES('0')) << (64 - 8 * whole_digits);
    fraction = (load_8(p + whole_digits + 1) ^ ALL_BYTES('0')) & (((uint64_t)1 << (8 * decimals)) - 1);
    if (UNLIKELY(not_digits(whole) | not_digits(fraction))) return -1;
    *length = n;
    return (int64_t)(eight_digits(whole) * 1000000 + eight_digits(fraction << 16));
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
