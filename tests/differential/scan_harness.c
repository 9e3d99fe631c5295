/* One frame through the scanners, told as a row of numbers: compiled once as usual and once with INVMM_PLAIN. */
#include <stdlib.h>

#include "scan.h"

int scan_uses_sse2(void) { return TEXT_SSE2; }

/* Writes what the frame means to `out` (room for `limit` numbers) and gives how many there are, -1 if they do not fit. */
long scan_numbers(const char *up, const char *down, const char *data, long size, int64_t *out, long limit)
{
    static scan_frame_t frame;
    scan_ids_t ids;
    int64_t *to = out;
    int i, way;
    char *copy = malloc(size ? (size_t)size : 1); /* a block of its own: reading beyond it is what a sanitizer sees */
    if (!copy) return -1;
    memcpy(copy, data, (size_t)size);
    ids_set(&ids, up, (int)strlen(up), down, (int)strlen(down));
    way = scan_frame(&frame, &ids, copy, size);
    free(copy);
    *to++ = way;
    if (way == SCAN_PUNT) return to - out;
    if (9 + 12l * frame.n_events + 4l * frame.n_levels > limit) return -1;
    *to++ = frame.n_events;
    *to++ = frame.n_levels;
    *to++ = frame.unknown;
    *to++ = frame.ignored;
    *to++ = frame.last_kind;
    *to++ = frame.last_ms;
    *to++ = way == SCAN_GENERAL ? frame.winner : -1;
    for (i = 0; i < frame.n_events; i++) {
        const scan_event_t *event = &frame.events[i];
        *to++ = event->kind;
        *to++ = event->venue_ms;
        *to++ = event->first;
        *to++ = event->count;
        if (event->kind == PRICE_CHANGE) {
            *to++ = event->best_bid[0];
            *to++ = event->best_bid[1];
            *to++ = event->best_ask[0];
            *to++ = event->best_ask[1];
        } else {
            *to++ = event->token;
            *to++ = event->tick_e4;
            *to++ = event->side;
            *to++ = event->price_e4;
            *to++ = event->size_micro;
        }
    }
    for (i = 0; i < frame.n_levels; i++) {
        *to++ = frame.levels[i].token;
        *to++ = frame.levels[i].side;
        *to++ = frame.levels[i].price_e4;
        *to++ = frame.levels[i].size_micro;
    }
    return to - out;
}
