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
    char id[2][SCAN_ID_SIZE]; /* token ids, zero padded */
    int32_t id_length[2];
    int32_t n_events, n_levels;
    int32_t unknown;          /* entries and events that name an unknown asset */
    int32_t ignored;          /* events that are only counted, in `seen` */
    int32_t seen[SCAN_KINDS];
    int32_t last_kind;
    int64_t last_ms;          /* timestamp of the last event, 0: none */
    scan_event_t events[SCAN_EVENTS];
    scan_level_t levels[SCAN_LEVELS];
} scan_frame_t;

/* ---- the exact text of price_change ------------------------------------------------------------------------------- */

#define ID_SHORTEST 64 /* of the ids that the template reads; the venue's have 75 to 78 digits */
#define ID_LONGEST 80

/* Zero when the n bytes at p, ID_SHORTEST to ID_LONGEST, equal the id. Branches on nothing, reads nothing beyond. */
INLINE uint64_t id_differs(const char *p, const char *id, int n)
{
    uint64_t difference = 0;
    int i;
#pragma GCC unroll 8
    for (i = 0; i < ID_SHORTEST; i += 8) difference |= load_8(p + i) ^ load_8(id + i);
    return difference | (load_8(p + n - 16) ^ load_8(id + n - 16)) | (load_8(p + n - 8) ^ load_8(id + n - 8));
}

/* Which token's id stands at p; SCAN_UNKNOWN if neither. */
INLINE int token_at(const scan_frame_t *f, const char *p)
{
    int token = load_8(p) == load_8(f->id[1]); /* no branch: which token comes first is a coin toss */
    if (LIKELY(id_differs(p, f->id[token], f->id_length[token]) == 0)) return token;
    token ^= 1; /* both ids may begin alike */
    return id_differs(p, f->id[token], f->id_length[token]) == 0 ? token : SCAN_UNKNOWN;
}

INLINE int is_template_length(int n) { return n >= ID_SHORTEST && n <= ID_LONGEST; }

#define SPACED(literal, compact) (spaced ? DIFFERS(p, literal) : DIFFERS(p, compact))
#define STEP(literal, compact) p += spaced ? sizeof(literal) - 1 : sizeof(compact) - 1
#define EXPECT(literal, compact) (wrong |= SPACED(literal, compact), STEP(literal, compact))

/* Literals and hash of an entry (130 bytes when spaced), numbers at their widest (37), the widest read beyond (17).
 * Of a valid frame, whose last entry is followed by at least 58 bytes, this much is always left. */
#define ENTRY_ROOM 184

INLINE int price_change_template(scan_frame_t *f, const char *data, const char *end, const int spaced)
{
    const char *p = data;
    scan_event_t *event = &f->events[0];
    scan_level_t *level = f->levels, *last = f->levels + SCAN_LEVELS;
    ptrdiff_t room = ENTRY_ROOM + (f->id_length[0] > f->id_length[1] ? f->id_length[0] : f->id_length[1]);
    uint64_t wrong = DIFFERS(p, "{\"market\":\"");
    int n, tail;
    wrong |= special_in(p + 11, 66);
    p += 77;
    EXPECT("\", \"price_changes\":[", "\",\"price_changes\":[");
    if (UNLIKELY(wrong)) return SCAN_PUNT;
    event->best_bid[0] = event->best_bid[1] = event->best_ask[0] = event->best_ask[1] = -1;
    for (;;) {
        int token, side, bid, ask;
        int32_t price;
        int64_t size;
        if (UNLIKELY(end - p < room || level == last)) return SCAN_PUNT;
        wrong = DIFFERS(p, "{\"asset_id\":\"");
        p += 13;
        token = token_at(f, p);
        if (UNLIKELY(token == SCAN_UNKNOWN)) return SCAN_PUNT;
        p += f->id_length[token];
        EXPECT("\", \"price\":\"", "\",\"price\":\"");
        price = price_at(p, &n);
        if (UNLIKELY(price <= 0)) return SCAN_PUNT;
        p += n;
        EXPECT("\", \"size\":\"", "\",\"size\":\"");
        size = size_at(p, &n);
        if (UNLIKELY(size < 0)) return SCAN_PUNT;
        p += n;
        EXPECT("\", \"side\":\"", "\",\"side\":\"");
        side = p[0] == 'S';
        wrong |= side ? load_4(p) ^ 0x4c4c4553u : (load_4(p) & 0xffffff) ^ 0x595542u; /* SELL, BUY */
        p += 3 + side;
        EXPECT("\", \"hash\":\"", "\",\"hash\":\"");
        wrong |= special_in(p, 40);
        p += 40;
        EXPECT("\", \"best_bid\":\"", "\",\"best_bid\":\"");
        bid = best_at(p, &n);
        if (UNLIKELY(bid < 0)) return SCAN_PUNT;
        p += n;
        EXPECT("\", \"best_ask\":\"", "\",\"best_ask\":\"");
        ask = best_at(p, &n);
        if (UNLIKELY(ask < 0)) return SCAN_PUNT;
        p += n;
        wrong |= DIFFERS(p, "\"}");
        if (UNLIKELY(wrong)) return SCAN_PUNT;
        p += 2;
        level->token = (uint8_t)token;
        level->side = (uint8_t)side;
        level->price_e4 = price;
        level->size_micro = size;
        level++;
        event->best_bid[token] = bid;
        event->best_ask[token] = ask;
        if (*p != ',') break; /* readable: the room of an entry reaches beyond its end */
        p += 1 + spaced;
        if (spaced && UNLIKELY(p[-1] != ' ')) return SCAN_PUNT;
    }
    tail = spaced ? 60 : 58; /* the text below */
    if (UNLIKELY(end - p != tail)) return SCAN_PUNT;
    wrong = 0;
    EXPECT("], \"timestamp\":\"", "],\"timestamp\":\"");
    event->venue_ms = milliseconds_at(p);
    p += 13;
    wrong |= SPACED("\", \"event_type\":\"price_change\"}", "\",\"event_type\":\"price_change\"}");
    if (UNLIKELY(wrong || event->venue_ms < 0)) return SCAN_PUNT;
    event->kind = PRICE_CHANGE;
    event->first = 0;
    event->count = (int32_t)(level - f->levels);
    f->n_levels = event->count;
    f->n_events = 1;
    f->unknown = f->ignored = 0;
    f->last_kind = PRICE_CHANGE;
    f->last_ms = event->venue_ms;
    return SCAN_TEMPLATE;
}

/* ---- any key order ------------------------------------------------------------------------------------------------ */

enum slot { S_EVENT, S_ASSET, S_TIME, S_PRICE, S_SIZE, S_SIDE, S_BEST_BID, S_BEST_ASK, S_TICK, S_NEW_TICK,
            S_BIDS, S_ASKS, S_CHANGES, SLOTS };
#define HAS(slot) ((seen >> (slot)) & 1u)

typedef struct { const char *at; ptrdiff_t n; } text_t;

INLINE const char *blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}

/* The closing quote of a plain string that begins at p; NULL if it has none or is not plain ASCII. */
INLINE const char *string_end(const char *p, const char *end)
{
    for (; end - p >= 16; p += 16) {
        uint32_t special = special_16(p);
        if (special) {
            p += __builtin_ctz(special);
            return *p == '"' ? p : NULL;
        }
    }
    for (; p < end; p++) {
        if (*p == '"') return p;
        if (*p == '\\' || (signed char)*p < ' ') return NULL;
    }
    return NULL;
}

#define KEY(text, slot) if (differs(key, text, sizeof(text) - 1) == 0) return slot

static int slot_of(const char *key, ptrdiff_t n)
{
    switch (n) {
    case 4: KEY("size", S_SIZE); KEY("side", S_SIDE); KEY("bids", S_BIDS); KEY("asks", S_ASKS); break;
    case 5: KEY("price", S_PRICE); break;
    case 8: KEY("asset_id", S_ASSET); KEY("best_bid", S_BEST_BID); KEY("best_ask", S_BEST_ASK); break;
    case 9: KEY("timestamp", S_TIME); KEY("tick_size", S_TICK); break;
    case 10: KEY("event_type", S_EVENT); break;
    case 13: KEY("price_changes", S_CHANGES); KEY("new_tick_size", S_NEW_TICK); break;
    }
    return -1;
}

/* Behind the JSON number at p; NULL for what is not one, or has an exponent or more digits than a double keeps. */
static const char *number_end(const char *p, const char *end)
{
    const char *start;
    if (p < end && *p == '-') p++;
    start = p;
    if (p < end && *p == '0') p++;
    else while (p < end && *p >= '0' && *p <= '9') p++;
    if (p == start) return NULL;
    if (p < end && *p == '.') {
        const char *point = p++;
        while (p < end && *p >= '0' && *p <= '9') p++;
        if (p == point + 1) return NULL;
    }
    if (p - start > 15 || (p < end && (*p == 'e' || *p == 'E'))) return NULL;
    return p;
}

/* Behind any value at p, checked as strictly as a parser would; NULL punts. */
static const char *value_end(const char *p, const char *end, int depth)
{
    char open;
    if (p >= end) return NULL;
    open = *p;
    if (open == '"') {
        p = string_end(p + 1, end);
        return p ? p + 1 : NULL;
    }
    if (open == '{' || open == '[') {
        if (depth == 0) return NULL;
        p = blanks(p + 1, end);
        if (p < end && *p == open + 2) return p + 1; /* ] and } are two behind their opening */
        for (;;) {
            if (open == '{') {
                if (p >= end || *p != '"' || !(p = string_end(p + 1, end))) return NULL;
                p = blanks(p + 1, end);
                if (p >= end || *p != ':') return NULL;
                p = blanks(p + 1, end);
            }
            if (!(p = value_end(p, end, depth - 1))) return NULL;
            p = blanks(p, end);
            if (p >= end) return NULL;
            if (*p == open + 2) return p + 1;
            if (*p != ',') return NULL;
            p = blanks(p + 1, end);
        }
    }
    if (end - p >= 4 && (memcmp(p, "true", 4) == 0 || memcmp(p, "null", 4) == 0)) return p + 4;
    if (end - p >= 5 && memcmp(p, "false", 5) == 0) return p + 5;
    return number_end(p, end);
}

INLINE int token_of(const scan_frame_t *f, text_t id)
{
    int token;
    for (token = 0; token < 2; token++)
        if (id.n == f->id_length[token] && memcmp(id.at, f->id[token], (size_t)id.n) == 0) return token;
    return SCAN_UNKNOWN;
}

INLINE int price_of(text_t text, int32_t *price)
{
    int64_t value;
    if (decimal_exact(text.at, text.n, 4, 9999, &value) || value == 0) return 0;
    *price = (int32_t)value;
    return 1;
}

INLINE int size_of(text_t text, int64_t *size)
{
    return decimal_exact(text.at, text.n, 6, SIZE_LIMIT_MICRO, size) == DECIMAL_OK;
}

/* A best price that may be absent, empty ("" says nothing), 0 or 1. */
INLINE int best_of(text_t text, int present, int32_t *best)
{
    int64_t value;
    *best = -1;
    if (!present || text.n == 0) return 1;
    if (decimal_exact(text.at, text.n, 4, 10000, &value)) return 0;
    *best = (int32_t)value;
    return 1;
}

INLINE int side_of(text_t text, uint8_t *side)
{
    *side = text.n == 4;
    return (text.n == 3 && memcmp(text.at, "BUY", 3) == 0) || (text.n == 4 && memcmp(text.at, "SELL", 4) == 0);
}

static int milliseconds_of(text_t text, int64_t *ms)
{
    ptrdiff_t i;
    int64_t value = 0;
    if (text.n < 1 || text.n > 18) return 0;
    for (i = 0; i < text.n; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') return 0;
        value = value * 10 + (text.at[i] - '0');
    }
    *ms = value;
    return 1;
}

static const char *levels_of(scan_frame_t *f, const char *p, const char *end, int side);
static const char *entries_of(scan_frame_t *f, const char *p, const char *end, scan_event_t *event);

/* Reads the object at p. Members in `wanted` land in slots (plain strings) or in f (arrays); others are skipped. */
INLINE const char *members(
    scan_frame_t *f, const char *p, const char *end, const unsigned wanted, text_t *slots, scan_event_t *event,
    unsigned *found)
{
    unsigned seen = 0;
    if (p >= end || *p != '{') return NULL;
    p = blanks(p + 1, end);
    if (p < end && *p == '}') {
        *found = 0;
        return p + 1;
    }
    for (;;) {
        const char *key, *stop;
        int slot;
        if (p >= end || *p != '"') return NULL;
        key = p + 1;
        if (!(stop = string_end(key, end))) return NULL;
        slot = slot_of(key, stop - key);
        p = blanks(stop + 1, end);
        if (p >= end || *p != ':') return NULL;
        p = blanks(p + 1, end);
        if (p >= end) return NULL;
        if (slot < 0 || !(wanted >> slot & 1u)) {
            p = value_end(p, end, 16);
        } else {
            if (HAS(slot)) return NULL; /* of equal keys the last counts: rare, left to the parser */
            seen |= 1u << slot;
            if (slot == S_BIDS || slot == S_ASKS) {
                p = levels_of(f, p, end, slot - S_BIDS);
            } else if (slot == S_CHANGES) {
                p = entries_of(f, p, end, event);
            } else {
                if (*p != '"') return NULL;
                slots[slot].at = p + 1;
                if (!(stop = string_end(p + 1, end))) return NULL;
                slots[slot].n = stop - p - 1;
                p = stop + 1;
            }
        }
        if (!p) return NULL;
        p = blanks(p, end);
        if (p >= end) return NULL;
        if (*p == '}') break;
        if (*p != ',') return NULL;
        p = blanks(p + 1, end);
    }
    *found = seen;
    return p + 1;
}

/* The array of bids or asks at p. Its levels get their token when the event is complete. */
static const char *levels_of(scan_frame_t *f, const char *p, const char *end, int side)
{
    scan_level_t *level = &f->levels[f->n_levels];
    scan_level_t *const stop = &f->levels[SCAN_LEVELS];
    if (*p != '[') return NULL;
    p = blanks(p + 1, end);
    if (p < end && *p == ']') return p + 1;
    for (;; level++) {
        if (UNLIKELY(level == stop)) return NULL;
        level->side = (uint8_t)side;
        if (LIKELY(end - p >= 64)) { /* 10 + 6 + 11 + 15 + 2 bytes, and what is read beyond */
            const char *q = p + 10;
            int n;
            int64_t size;
            int32_t price = price_at(q, &n);
            if (UNLIKELY(DIFFERS(p, "{\"price\":\"") || price <= 0)) goto slowly;
            q += n;
            if (LIKELY(!DIFFERS(q, "\",\"size\":\""))) q += 10;
            else if (LIKELY(!DIFFERS(q, "\", \"size\":\""))) q += 11;
            else goto slowly;
            size = size_at(q, &n);
            if (UNLIKELY(size < 0)) goto slowly;
            q += n;
            level->price_e4 = price;
            level->size_micro = size;
            if (LIKELY(load_4(q) == 0x7b2c7d22u)) { /* "},{ */
                p = q + 3;
                continue;
            }
            if (UNLIKELY(q[1] != '}')) goto slowly;
            p = q + 2;
        } else {
            text_t slots[SLOTS];
            unsigned seen;
        slowly:
            p = members(f, p, end, 1u << S_PRICE | 1u << S_SIZE, slots, NULL, &seen);
            if (!p || seen != (1u << S_PRICE | 1u << S_SIZE)) return NULL;
            if (!price_of(slots[S_PRICE], &level->price_e4) || !size_of(slots[S_SIZE], &level->size_micro)) return NULL;
        }
        p = blanks(p, end);
        if (p >= end) return NULL;
        if (*p == ']') break;
        if (*p != ',') return NULL;
        p = blanks(p + 1, end);
    }
    f->n_levels = (int32_t)(level + 1 - f->levels);
    return p + 1;
}

/* The array of price changes at p. */
static const char *entries_of(scan_frame_t *f, const char *p, const char *end, scan_event_t *event)
{
    const unsigned wanted = 1u << S_ASSET | 1u << S_PRICE | 1u << S_SIZE | 1u << S_SIDE | 1u << S_BEST_BID | 1u << S_BEST_ASK;
    const unsigned needed = 1u << S_ASSET | 1u << S_PRICE | 1u << S_SIZE | 1u << S_SIDE;
    if (*p != '[') return NULL;
    p = blanks(p + 1, end);
    if (p < end && *p == ']') return p + 1;
    for (;;) {
        text_t slots[SLOTS];
        unsigned seen;
        scan_level_t *level = &f->levels[f->n_levels];
        int32_t bid, ask;
        int token;
        if (f->n_levels == SCAN_LEVELS) return NULL;
        p = members(f, p, end, wanted, slots, NULL, &seen);
        if (!p || (seen & needed) != needed) return NULL;
        if (!price_of(slots[S_PRICE], &level->price_e4) || !size_of(slots[S_SIZE], &level->size_micro)
            || !side_of(slots[S_SIDE], &level->side) || !best_of(slots[S_BEST_BID], HAS(S_BEST_BID), &bid)
            || !best_of(slots[S_BEST_ASK], HAS(S_BEST_ASK), &ask))
            return NULL;
        token = token_of(f, slots[S_ASSET]);
        if (token == SCAN_UNKNOWN) {
            f->unknown++;
        } else {
            level->token = (uint8_t)token;
            event->best_bid[token] = bid;
            event->best_ask[token] = ask;
            f->n_levels++;
        }
        p = blanks(p, end);
        if (p >= end) return NULL;
        if (*p == ']') return p + 1;
        if (*p != ',') return NULL;
        p = blanks(p + 1, end);
    }
}

#define IS(name) (type.n == sizeof(name) - 1 && memcmp(type.at, name, sizeof(name) - 1) == 0)

static int kind_of(text_t type)
{
    if (IS("price_change")) return PRICE_CHANGE;
    if (IS("book")) return BOOK;
    if (IS("last_trade_price")) return LAST_TRADE;
    if (IS("tick_size_change")) return TICK_SIZE;
    if (IS("best_bid_ask")) return BEST_BID_ASK;
    if (IS("market_resolved")) return MARKET_RESOLVED;
    if (IS("new_market")) return NEW_MARKET;
    return OTHER;
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

static void begin_event(const scan_frame_t *f, scan_event_t *event)
{
    memset(event, 0, sizeof *event);
    event->first = f->n_levels;
    event->best_bid[0] = event->best_bid[1] = event->best_ask[0] = event->best_ask[1] = -1;
}

static const char *event_at(scan_frame_t *f, const char *p, const char *end)
{
    text_t slots[SLOTS];
    scan_event_t event;
    unsigned seen;
    int kind, token = SCAN_UNKNOWN;
    int32_t first = f->n_levels, i, unknown = f->unknown;
    begin_event(f, &event);
    p = members(f, p, end, ~0u, slots, &event, &seen);
    if (!p) return NULL;
    kind = HAS(S_EVENT) ? kind_of(slots[S_EVENT]) : OTHER;
    if (kind != PRICE_CHANGE) f->unknown = unknown;
    if (kind >= MARKET_RESOLVED) {
        if (HAS(S_TIME) && !milliseconds_of(slots[S_TIME], &event.venue_ms)) event.venue_ms = 0;
        return keep_event(f, &event, kind, token) ? p : NULL;
    }
    if (!HAS(S_TIME) || !milliseconds_of(slots[S_TIME], &event.venue_ms)) return NULL;
    if (kind == PRICE_CHANGE) {
        /* Levels of a stray bids or asks list would be taken for entries. */
        if (!HAS(S_CHANGES) || HAS(S_BIDS) || HAS(S_ASKS)) return NULL;
        return keep_event(f, &event, kind, token) ? p : NULL;
    }
    if (!HAS(S_ASSET)) return NULL;
    token = token_of(f, slots[S_ASSET]);
    switch (kind) {
    case BOOK:
        if (!HAS(S_BIDS) || !HAS(S_ASKS) || HAS(S_CHANGES)) return NULL;
        if (HAS(S_TICK) && slots[S_TICK].n && !price_of(slots[S_TICK], &event.tick_e4)) return NULL;
        if (event.tick_e4 > 5000) return NULL;
        for (i = first; i < f->n_levels; i++) f->levels[i].token = (uint8_t)token;
        break;
    case LAST_TRADE:
        if (!HAS(S_PRICE) || !HAS(S_SIZE) || !HAS(S_SIDE)) return NULL;
        if (!price_of(slots[S_PRICE], &event.price_e4) || !size_of(slots[S_SIZE], &event.size_micro)
            || !side_of(slots[S_SIDE], &event.side))
            return NULL;
        break;
    case TICK_SIZE:
        if (!HAS(S_NEW_TICK) || !price_of(slots[S_NEW_TICK], &event.tick_e4) || event.tick_e4 > 5000) return NULL;
        break;
    }
    if (kind != BOOK) { /* stray lists in other events mean nothing */
        f->n_levels = first;
    }
    return keep_event(f, &event, kind, token) ? p : NULL;
}

/* What an earlier frame left; the template writes these itself. */
static void begin_frame(scan_frame_t *f)
{
    f->n_events = f->n_levels = f->unknown = f->ignored = 0;
    f->last_kind = OTHER;
    f->last_ms = 0;
    memset(f->seen, 0, sizeof f->seen);
}

static int general(scan_frame_t *f, const char *data, const char *end)
{
    const char *p = blanks(data, end);
    begin_frame(f);
    if (p >= end) return SCAN_PUNT;
    if (*p == 'P') {
        if (end - p < 4 || memcmp(p, "PONG", 4) != 0 || blanks(p + 4, end) != end) return SCAN_PUNT;
        f->last_kind = PONG;
        f->ignored = f->seen[PONG] = 1;
        return SCAN_GENERAL;
    }
    if (*p == '[') {
        p = blanks(p + 1, end);
        if (p < end && *p == ']') {
            p++;
        } else {
            for (;;) {
                if (!(p = event_at(f, p, end))) return SCAN_PUNT;
                p = blanks(p, end);
                if (p >= end) return SCAN_PUNT;
                if (*p == ']') break;
                if (*p != ',') return SCAN_PUNT;
                p = blanks(p + 1, end);
            }
            p++;
        }
    } else if (!(p = event_at(f, p, end))) {
        return SCAN_PUNT;
    }
    return blanks(p, end) == end ? SCAN_GENERAL : SCAN_PUNT;
}

/* Reads a frame into f: SCAN_TEMPLATE or SCAN_GENERAL says by which way, SCAN_PUNT that the parser must look. */
static int scan_frame(scan_frame_t *f, const char *data, ptrdiff_t size)
{
    int way = SCAN_PUNT;
    if (LIKELY(size >= 300 && is_template_length(f->id_length[0]) && is_template_length(f->id_length[1]))) {
        const char *end = data + size;
        if (data[79] == ' ') way = price_change_template(f, data, end, 1);
        else if (data[79] == '"') way = price_change_template(f, data, end, 0);
        if (LIKELY(way)) return way;
    }
    return general(f, data, data + size);
}

#endif
