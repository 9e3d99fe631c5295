/* The checksum of a journal record, and the store that makes the record whole.
 *
 * CRC-32C (Castagnoli; RFC 3720, appendix B.4: initial value and final exclusive-or are all ones), by the
 * processor's own instruction where it has one, by a table of 256 words otherwise. Chosen once, at start.
 */
#ifndef INVMM_JOURNAL_H
#define INVMM_JOURNAL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CRC32C_POLYNOMIAL 0x82f63b78u /* reflected */

typedef uint32_t (*crc32c_t)(uint32_t crc, const void *data, size_t size);

static uint32_t crc32c_table[256];

/* `crc` and the result are the register: without initial value and final exclusive-or. */
static uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *at = (const uint8_t *)data;
    while (size--) crc = crc32c_table[(crc ^ *at++) & 0xff] ^ (crc >> 8);
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_by_instruction(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *at = (const uint8_t *)data;
    uint64_t wide = crc, word;
    for (; size >= 8; size -= 8, at += 8) {
        memcpy(&word, at, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    while (size--) crc = __builtin_ia32_crc32qi(crc, *at++);
    return crc;
}
#endif

static crc32c_t crc32c_register = crc32c_by_table;

/* Fills the table and chooses the fastest way that this processor has; 1 when that is its own instruction. */
static int crc32c_choose(void)
{
    uint32_t i, bit, word;
    for (i = 0; i < 256; i++) {
        for (word = i, bit = 0; bit < 8; bit++) word = word >> 1 ^ (word & 1 ? CRC32C_POLYNOMIAL : 0);
        crc32c_table[i] = word;
    }
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("sse4.2")) {
        crc32c_register = crc32c_by_instruction;
        return 1;
    }
#endif
    return 0;
}

static inline uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    return ~crc32c_register(~crc, data, size);
}

/* The checksum is stored last: whoever sees it sees the record that it belongs to. */
static inline void journal_publish(uint32_t *place, uint32_t crc)
{
    __atomic_store_n(place, crc, __ATOMIC_RELEASE);
}

/* Has the page of a byte written to, and leaves the byte as it is: after a sync the next store there is a fault. */
static inline void journal_touch(uint8_t *byte)
{
    __atomic_fetch_or(byte, 0, __ATOMIC_RELAXED);
}

#endif
