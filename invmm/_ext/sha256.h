/* HMAC-SHA256 with kept midstates: after `invmm_hmac_key` a message costs only its own blocks plus two.
 *
 * Portable compression (FIPS 180-4 section 6.2), and on x86-64 one with the SHA instructions, chosen once at run time.
 */
#ifndef INVMM_SHA256_H
#define INVMM_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define INVMM_SHA_NI 1
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t invmm_sha256_k[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static const uint32_t invmm_sha256_start[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static inline uint32_t invmm_rotate32(uint32_t value, int n) { return (value >> n) | (value << (32 - n)); }

static void invmm_sha256_portable(uint32_t state[8], const uint8_t *data, size_t blocks) {
    uint32_t w[64];
    while (blocks--) {
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)data[4 * i] << 24 | (uint32_t)data[4 * i + 1] << 16 | (uint32_t)data[4 * i + 2] << 8 | data[4 * i + 3];
        for (int i = 16; i < 64; i++) {
            const uint32_t s0 = invmm_rotate32(w[i - 15], 7) ^ invmm_rotate32(w[i - 15], 18) ^ (w[i - 15] >> 3);
            const uint32_t s1 = invmm_rotate32(w[i - 2], 17) ^ invmm_rotate32(w[i - 2], 19) ^ (w[i - 2] >> 10);
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int i = 0; i < 64; i++) {
            const uint32_t s1 = invmm_rotate32(e, 6) ^ invmm_rotate32(e, 11) ^ invmm_rotate32(e, 25);
            const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + invmm_sha256_k[i] + w[i];
            const uint32_t s0 = invmm_rotate32(a, 2) ^ invmm_rotate32(a, 13) ^ invmm_rotate32(a, 22);
            const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
        state[4] += e, state[5] += f, state[6] += g, state[7] += h;
        data += 64;
    }
}

#ifdef INVMM_SHA_NI
/* The instructions keep the state as (a, b, e, f) and (c, d, g, h); four message words are scheduled at a time. */
__attribute__((target("sha,sse4.1,ssse3"))) static void invmm_sha256_ni(uint32_t state[8], const uint8_t *data, size_t blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    const __m128i dcba = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
    const __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(dcba, hgfe, 8);
    __m128i cdgh = _mm_blend_epi16(hgfe, dcba, 0xf0);
    while (blocks--) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w[4];
        for (int i = 0; i < 4; i++) w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data + 16 * i)), swap);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            const __m128i words = w[i & 3];
            const __m128i sum = _mm_add_epi32(words, _mm_load_si128((const __m128i *)(invmm_sha256_k + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
            if (i < 12) {
                const __m128i older = _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4);
                const __m128i partial = _mm_add_epi32(_mm_sha256msg1_epu32(words, w[(i + 1) & 3]), older);
                w[i & 3] = _mm_sha256msg2_epu32(partial, w[(i + 3) & 3]);
            }
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
        data += 64;
    }
    const __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
    const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

static int invmm_has_sha_ni(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1)) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}
#else
static int invmm_has_sha_ni(void) { return 0; }
#endif

typedef void (*invmm_compress_t)(uint32_t state[8], const uint8_t *data, size_t blocks);

/* The fastest compression of this machine; `portable` asks for the plain one (tests compare the two). */
static invmm_compress_t invmm_sha256_choose(int portable) {
#ifdef INVMM_SHA_NI
    if (!portable && invmm_has_sha_ni()) return invmm_sha256_ni;
#endif
    (void)portable;
    return invmm_sha256_portable;
}

typedef struct {
    uint32_t inner[8], outer[8]; /* states after the padded key block: as secret as the key */
    invmm_compress_t compress;
} invmm_hmac_t;

typedef struct {
    uint32_t state[8];
    uint8_t pending[64];
    size_t used;  /* bytes in `pending` */
    size_t total; /* bytes hashed, key block included */
} invmm_sha256_t;

static void invmm_sha256_add(invmm_sha256_t *hash, invmm_compress_t compress, const uint8_t *data, size_t size) {
    hash->total += size;
    if (hash->used) {
        size_t take = 64 - hash->used;
        if (take > size) take = size;
        memcpy(hash->pending + hash->used, data, take);
        hash->used += take, data += take, size -= take;
        if (hash->used < 64) return;
        compress(hash->state, hash->pending, 1);
        hash->used = 0;
    }
    if (size >= 64) compress(hash->state, data, size / 64);
    if (size % 64) memcpy(hash->pending, data + (size & ~(size_t)63), size % 64);
    hash->used = size % 64;
}

static void invmm_sha256_finish(invmm_sha256_t *hash, invmm_compress_t compress, uint8_t *out) {
    const uint64_t bits = (uint64_t)hash->total * 8;
    hash->pending[hash->used++] = 0x80;
    if (hash->used > 56) {
        memset(hash->pending + hash->used, 0, 64 - hash->used);
        compress(hash->state, hash->pending, 1);
        hash->used = 0;
    }
    memset(hash->pending + hash->used, 0, 56 - hash->used);
    for (int i = 0; i < 8; i++) hash->pending[56 + i] = (uint8_t)(bits >> (56 - 8 * i));
    compress(hash->state, hash->pending, 1);
    for (int i = 0; i < 32; i++) out[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
}

/* Memory that held a secret: the barrier keeps the store from being removed as dead. */
static inline void invmm_wipe(void *memory, size_t size) {
    if (!size) return;
    memset(memory, 0, size);
    __asm__ __volatile__("" : : "r"(memory) : "memory");
}

/* Keeps the midstates of `key` (any length, RFC 2104). */
static void invmm_hmac_key(invmm_hmac_t *hmac, const uint8_t *key, size_t size, int portable) {
    uint8_t block[64] = {0}, padded[64];
    hmac->compress = invmm_sha256_choose(portable);
    if (size > 64) {
        invmm_sha256_t hash = {.used = 0, .total = 0};
        memcpy(hash.state, invmm_sha256_start, sizeof hash.state);
        invmm_sha256_add(&hash, hmac->compress, key, size);
        invmm_sha256_finish(&hash, hmac->compress, block);
        invmm_wipe(&hash, sizeof hash);
    } else if (size) {
        memcpy(block, key, size);
    }
    memcpy(hmac->inner, invmm_sha256_start, sizeof hmac->inner);
    memcpy(hmac->outer, invmm_sha256_start, sizeof hmac->outer);
    for (int i = 0; i < 64; i++) padded[i] = block[i] ^ 0x36;
    hmac->compress(hmac->inner, padded, 1);
    for (int i = 0; i < 64; i++) padded[i] = block[i] ^ 0x5c;
    hmac->compress(hmac->outer, padded, 1);
    invmm_wipe(block, sizeof block);
    invmm_wipe(padded, sizeof padded);
}

/* HMAC of the concatenation head + body into `out` (32 bytes). */
static void invmm_hmac_sign(const invmm_hmac_t *hmac, const uint8_t *head, size_t head_size, const uint8_t *body, size_t body_size,
                            uint8_t *out) {
    invmm_sha256_t hash = {.used = 0, .total = 64};
    uint8_t digest[32];
    memcpy(hash.state, hmac->inner, sizeof hash.state);
    invmm_sha256_add(&hash, hmac->compress, head, head_size);
    if (body_size) invmm_sha256_add(&hash, hmac->compress, body, body_size);
    invmm_sha256_finish(&hash, hmac->compress, digest);
    memcpy(hash.state, hmac->outer, sizeof hash.state);
    hash.used = 0, hash.total = 64;
    invmm_sha256_add(&hash, hmac->compress, digest, sizeof digest);
    invmm_sha256_finish(&hash, hmac->compress, out);
}

#endif
