/* Text compared in wide pieces: 16 bytes at a time where the machine has SSE2, which is every x86-64, and by plain words
 * elsewhere. INVMM_PLAIN forces the plain words, so that a test can hold the two equal.
 *
 * A `text_check_t` gathers what was wrong with many pieces, to be asked once. Every function reads a stated number of bytes
 * from p, which the caller has made sure are readable.
 */
#ifndef INVMM_TEXT_H
#define INVMM_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "text is read as little-endian words"
#endif

#if defined(__SSE2__) && !defined(INVMM_PLAIN)
#define TEXT_SSE2 1
#include <emmintrin.h>
#else
#define TEXT_SSE2 0
#endif

#define INLINE static inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ALL_BYTES(c) (0x0101010101010101ull * (uint8_t)(c))

INLINE uint64_t load_8(const char *p) { uint64_t v; memcpy(&v, p, 8); return v; }
INLINE uint32_t load_4(const char *p) { uint32_t v; memcpy(&v, p, 4); return v; }
INLINE uint32_t load_2(const char *p) { uint16_t v; memcpy(&v, p, 2); return v; }

/* Zero when the n bytes at p equal the literal; n is a constant, so this is a few loads and xors. Reads n bytes. */
INLINE uint64_t differs(const char *p, const char *literal, size_t n)
{
    uint64_t difference = 0;
    size_t i;
    if (n < 8) {
        if (n >= 4) return (load_4(p) ^ load_4(literal)) | (load_4(p + n - 4) ^ load_4(literal + n - 4));
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
#if TEXT_SSE2
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
#if TEXT_SSE2
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

typedef struct {
#if TEXT_SSE2
    __m128i wrong, least, some, every; /* differences; of plain text the smallest byte, its or, its and */
#else
    uint64_t wrong;
#endif
} text_check_t;

INLINE void check_begin(text_check_t *check)
{
#if TEXT_SSE2
    check->wrong = check->some = _mm_setzero_si128();
    check->least = check->every = _mm_set1_epi8(-1);
#else
    check->wrong = 0;
#endif
}

/* Wants the n bytes at p to be those at `text`, n at least 16 or known to the compiler. Reads max(n, 16) bytes of both. */
INLINE void check_equal(text_check_t *check, const char *p, const char *text, size_t n)
{
#if TEXT_SSE2
    static const uint8_t kept[32] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    size_t i;
    if (n < 16) {
        __m128i x = _mm_xor_si128(_mm_loadu_si128((const __m128i *)p), _mm_loadu_si128((const __m128i *)text));
        x = _mm_and_si128(x, _mm_loadu_si128((const __m128i *)(kept + 16 - n)));
        check->wrong = _mm_or_si128(check->wrong, x);
        return;
    }
#pragma GCC unroll 8
    for (i = 0; i + 16 <= n; i += 16)
        check->wrong = _mm_or_si128(check->wrong, _mm_xor_si128(
            _mm_loadu_si128((const __m128i *)(p + i)), _mm_loadu_si128((const __m128i *)(text + i))));
    if (n & 15)
        check->wrong = _mm_or_si128(check->wrong, _mm_xor_si128(
            _mm_loadu_si128((const __m128i *)(p + n - 16)), _mm_loadu_si128((const __m128i *)(text + n - 16))));
#else
    check->wrong |= differs(p, text, n);
#endif
}
/* Wants a literal at p; sixteen zeros behind it make the wide load of the literal itself lawful. */
#define CHECK(check, p, literal) \
    check_equal((check), (p), literal "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", sizeof(literal) - 1)

/* Wants the n bytes at p, at least 16 and known to the compiler, to be digits, lower-case letters or signs that need no
 * escape: bytes from 0x23 to 0x7f that have bit 5. The backslash, upper case and all below the space have it not. */
INLINE void check_plain(text_check_t *check, const char *p, size_t n)
{
    size_t i;
#if TEXT_SSE2
#define PLAIN(at) do { \
        const __m128i x = _mm_loadu_si128((const __m128i *)(at)); \
        check->least = _mm_min_epu8(check->least, x); \
        check->some = _mm_or_si128(check->some, x); \
        check->every = _mm_and_si128(check->every, x); \
    } while (0)
#pragma GCC unroll 8
    for (i = 0; i + 16 <= n; i += 16) PLAIN(p + i);
    if (n & 15) PLAIN(p + n - 16);
#undef PLAIN
#else
    for (i = 0; i < n; i++) {
        uint8_t c = (uint8_t)p[i];
        check->wrong |= (uint64_t)(c < 0x23 || c > 0x7f || !(c & 0x20));
    }
#endif
}

/* Whether a piece that had to be equal was not. */
INLINE int check_differs(const text_check_t *check)
{
#if TEXT_SSE2
    return _mm_movemask_epi8(_mm_cmpeq_epi8(check->wrong, _mm_setzero_si128())) != 0xffff;
#else
    return check->wrong != 0;
#endif
}

/* Whether anything was wrong. */
INLINE int check_failed(const text_check_t *check)
{
#if TEXT_SSE2
    __m128i wrong = _mm_or_si128(check->wrong, _mm_subs_epu8(_mm_set1_epi8(0x23), check->least));
    wrong = _mm_or_si128(wrong, _mm_and_si128(check->some, _mm_set1_epi8(-128)));
    wrong = _mm_or_si128(wrong, _mm_andnot_si128(check->every, _mm_set1_epi8(0x20)));
    return _mm_movemask_epi8(_mm_cmpeq_epi8(wrong, _mm_setzero_si128())) != 0xffff;
#else
    return check->wrong != 0;
#endif
}

#endif
