/* What a frame of the market channel says: the scanners' and the parser's common result, and the tokens they look for.
 *
 * A result is large and lives for one frame, so a thread has one for all its markets (`scratch.h`); what a market keeps is
 * small.
 */
#ifndef INVMM_FRAME_H
#define INVMM_FRAME_H

#include "digits.h"

#define SCAN_LEVELS 40000 /* a frame's levels: both sides of both tokens at every price there is */
#define SCAN_EVENTS 64
#define SCAN_ID_SIZE 128

enum scan_kind { REFUSED = 0, BOOK, PRICE_CHANGE, LAST_TRADE, TICK_SIZE, BEST_BID_ASK, PONG,
                 MARKET_RESOLVED, NEW_MARKET, OTHER, SCAN_KINDS };
enum { SCAN_PUNT = 0, SCAN_TEMPLATE = 1, SCAN_GENERAL = 2 };
enum { SCAN_UNKNOWN = 2 }; /* a token that is neither Up (0) nor Down (1) */

typedef struct {
    int64_t size_micro;
    int32_t price_e4;
    uint8_t token, side; /* side 0: bids */
} scan_level_t;

typedef struct {
    int64_t venue_ms;
    int64_t size_micro;              /* LAST_TRADE */
    int32_t first, count;            /* of `levels` */
    int32_t price_e4;                /* LAST_TRADE */
    int32_t tick_e4;                 /* TICK_SIZE, BOOK; 0: not said */
    int32_t best_bid[2], best_ask[2]; /* PRICE_CHANGE, of the last entry per token; -1: not said; 0 and 10000: empty */
    uint8_t kind, token, side;
} scan_event_t;

typedef struct {
    int32_t length[2];
    int32_t probe;            /* where eight bytes tell the two ids apart; -1: the template cannot read these ids */
    int32_t longest;
    uint64_t down_probe;      /* those eight bytes of Down's id */
    char id[2][SCAN_ID_SIZE]; /* token ids, zero padded */
} scan_ids_t;

typedef struct {
    int32_t n_events, n_levels;
    int32_t unknown;          /* entries and events that name an unknown asset */
    int32_t ignored;          /* events that are only counted, in `seen` */
    int32_t last_kind;
    int32_t winner;           /* token of a market_resolved's winning_asset_id, -1: none told */
    int64_t last_ms;          /* timestamp of the last event, 0: none */
    int32_t seen[SCAN_KINDS];
    scan_event_t events[SCAN_EVENTS];
    scan_level_t levels[SCAN_LEVELS];
} scan_frame_t;

#define ID_SHORTEST 64 /* of the ids that the template reads; the venue's have 75 to 78 digits */
#define ID_LONGEST 80

/* Takes two different ids, each shorter than SCAN_ID_SIZE. */
static void ids_set(scan_ids_t *ids, const char *up, int up_length, const char *down, int down_length)
{
    int at;
    memset(ids, 0, sizeof *ids);
    memcpy(ids->id[0], up, (size_t)up_length);
    memcpy(ids->id[1], down, (size_t)down_length);
    ids->length[0] = up_length;
    ids->length[1] = down_length;
    ids->longest = up_length > down_length ? up_length : down_length;
    ids->probe = -1;
    if (up_length < ID_SHORTEST || down_length < ID_SHORTEST || ids->longest > ID_LONGEST) return;
    for (at = 0; at + 8 <= up_length && at + 8 <= down_length; at++) {
        if (load_8(ids->id[0] + at) == load_8(ids->id[1] + at)) continue;
        ids->probe = at;
        ids->down_probe = load_8(ids->id[1] + at);
        return;
    }
}

/* What an earlier frame left; the template writes these itself. */
static void begin_frame(scan_frame_t *f)
{
    f->n_events = f->n_levels = f->unknown = f->ignored = 0;
    f->last_kind = OTHER;
    f->winner = -1;
    f->last_ms = 0;
    memset(f->seen, 0, sizeof f->seen);
}

static void begin_event(const scan_frame_t *f, scan_event_t *event)
{
    memset(event, 0, sizeof *event);
    event->first = f->n_levels;
    event->best_bid[0] = event->best_bid[1] = event->best_ask[0] = event->best_ask[1] = -1;
}

/* An event that is known to be valid: kept if a book must hear of it, otherwise only counted. 0 if there is no room. */
static int keep_event(scan_frame_t *f, scan_event_t *event, int kind, int token)
{
    f->last_kind = kind;
    f->last_ms = event->venue_ms;
    event->kind = (uint8_t)kind;
    event->token = (uint8_t)token;
    event->count = f->n_levels - event->first;
    if (kind == BOOK || kind == LAST_TRADE || kind == TICK_SIZE || kind == BEST_BID_ASK) {
        if (token == SCAN_UNKNOWN) f->unknown++;
    }
    if (kind == PRICE_CHANGE || (token != SCAN_UNKNOWN && (kind == BOOK || kind == LAST_TRADE || kind == TICK_SIZE))) {
        if (f->n_events == SCAN_EVENTS) return 0;
        f->events[f->n_events++] = *event;
    } else {
        f->n_levels = event->first;
        f->ignored++;
        f->seen[kind]++;
    }
    return 1;
}

#endif
