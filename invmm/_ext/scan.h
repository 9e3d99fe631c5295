/* From the bytes of one market-channel frame to events and levels, or to `SCAN_PUNT`.
 *
 * Two scanners share one result. `price_change_template` knows the exact text that the venue sends for most frames and
 * checks every literal at the place where it must stand. `scan_frame` reads any key order and any blanks. Both take only
 * text that a JSON parser would also take with the same meaning; escapes, non-ASCII text, JSON numbers in
 * place of strings and everything malformed are punted whole to the parser, which says what is wrong.
 *
 * Nothing here changes a book: a frame is read to its last byte before anything of it counts. No byte at or beyond
 * data + size is read. No allocation, no locks; the caller owns the `scan_frame_t`.
 */
#ifndef INVMM_SCAN_H
#define INVMM_SCAN_H

#include "scan_general.h"
#include "scan_template.h"

/* Reads a frame into f: SCAN_TEMPLATE or SCAN_GENERAL says by which way, SCAN_PUNT that the parser must look. */
static int scan_frame(scan_frame_t *f, const scan_ids_t *ids, const char *data, ptrdiff_t size)
{
    int way = SCAN_PUNT;
    if (LIKELY(size >= 300 && ids->probe >= 0)) {
        const char *end = data + size;
        if (data[79] == ' ') way = price_change_template(f, ids, data, end, 1);
        else if (data[79] == '"') way = price_change_template(f, ids, data, end, 0);
        if (LIKELY(way)) return way;
    }
    return general(f, ids, data, data + size);
}

#endif
