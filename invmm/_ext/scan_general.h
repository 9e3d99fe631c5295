/* Frames of any key order and any blanks, in any shape; SCAN_PUNT for what `scan_values.h` does not take. */
#ifndef INVMM_SCAN_GENERAL_H
#define INVMM_SCAN_GENERAL_H

#include "scan_values.h"

static const char *levels_of(scan_frame_t *f, const scan_ids_t *ids, const char *p, const char *end, int side);
static const char *entries_of(
    scan_frame_t *f, const scan_ids_t *ids, const char *p, const char *end, scan_event_t *event);

/* Reads the object at p. Members in `wanted` land in slots (plain strings) or in f (arrays); others are skipped. */
INLINE const char *members(
    scan_frame_t *f, const scan_ids_t *ids, const char *p, const char *end, const unsigned wanted, text_t *slots,
    scan_event_t *event, unsigned *found)
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
        slot = slot_of(key, end, &stop);
        if (!stop) return NULL;
        p = blanks(stop + 1, end);
        if (p >= end || *p != ':') return NULL;
        p = blanks(p + 1, end);
        if (p >= end) return NULL;
        if (slot >= 0 && UNREAD >> slot & 1u) {
            p = unread_end(p, end, slot);
        } else if (slot < 0 || !(wanted >> slot & 1u)) {
            p = value_end(p, end, 16);
        } else {
            if (HAS(slot)) return NULL; /* of equal keys the last counts: rare, left to the parser */
            seen |= 1u << slot;
            if (slot == S_BIDS || slot == S_ASKS) {
                p = levels_of(f, ids, p, end, slot - S_BIDS);
            } else if (slot == S_CHANGES) {
                p = entries_of(f, ids, p, end, event);
            } else {
                if (*p != '"') return NULL;
                if (!(stop = text_at(ids, p + 1, end, slot, &slots[slot]))) return NULL;
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

/* The widest level, 10 + 6 + 11 + 15 + 13 bytes to the next one's price, and what is read beyond. */
#define LEVEL_ROOM 80

/* The array of bids or asks at p. Its levels get their token when the event is complete. */
static const char *levels_of(scan_frame_t *f, const scan_ids_t *ids, const char *p, const char *end, int side)
{
    scan_level_t *level = &f->levels[f->n_levels];
    scan_level_t *const stop = &f->levels[SCAN_LEVELS];
    if (*p != '[') return NULL;
    p = blanks(p + 1, end);
    if (p < end && *p == ']') return p + 1;
    for (;; level++) {
        if (UNLIKELY(level == stop)) return NULL;
        level->side = (uint8_t)side;
        if (LIKELY(end - p >= LEVEL_ROOM)) {
            const char *q = p + 10;
            int n;
            int64_t size;
            int32_t price = price_at(q, &n);
            if (UNLIKELY(DIFFERS(p, "{\"price\":\"") || price <= 0)) goto slowly;
        sized:
            level->price_e4 = price;
            q += n;
            if (LIKELY(!DIFFERS(q, "\",\"size\":\""))) q += 10;
            else if (LIKELY(!DIFFERS(q, "\", \"size\":\""))) q += 11;
            else goto slowly;
            size = size_at(q, &n);
            if (UNLIKELY(size < 0)) goto slowly;
            level->size_micro = size;
            q += n;
            if (LIKELY(!DIFFERS(q, "\"},{\"price\":\"") && end - q >= LEVEL_ROOM)) {
                p = q + 3;
                q += 13;
                price = price_at(q, &n);
                level++;
                if (UNLIKELY(level == stop)) return NULL;
                level->side = (uint8_t)side;
                if (LIKELY(price > 0)) goto sized;
                goto slowly;
            }
            if (UNLIKELY(q[0] != '"' || q[1] != '}')) goto slowly;
            p = q + 2;
        } else {
            text_t slots[SLOTS];
            unsigned seen;
        slowly:
            p = members(f, ids, p, end, 1u << S_PRICE | 1u << S_SIZE, slots, NULL, &seen);
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
static const char *entries_of(
    scan_frame_t *f, const scan_ids_t *ids, const char *p, const char *end, scan_event_t *event)
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
        p = members(f, ids, p, end, wanted, slots, NULL, &seen);
        if (!p || (seen & needed) != needed) return NULL;
        if (!price_of(slots[S_PRICE], &level->price_e4) || !size_of(slots[S_SIZE], &level->size_micro)
            || !side_of(slots[S_SIDE], &level->side) || !best_of(slots[S_BEST_BID], HAS(S_BEST_BID), &bid)
            || !best_of(slots[S_BEST_ASK], HAS(S_BEST_ASK), &ask))
            return NULL;
        token = asset_of(ids, slots[S_ASSET]);
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

static const char *event_at(scan_frame_t *f, const scan_ids_t *ids, const char *p, const char *end)
{
    text_t slots[SLOTS];
    scan_event_t event;
    unsigned seen;
    int kind, token = SCAN_UNKNOWN;
    int32_t first = f->n_levels, i, unknown = f->unknown;
    begin_event(f, &event);
    p = members(f, ids, p, end, ~0u, slots, &event, &seen);
    if (!p) return NULL;
    kind = HAS(S_EVENT) ? kind_of(slots[S_EVENT]) : OTHER;
    if (kind != PRICE_CHANGE) f->unknown = unknown;
    if (kind >= MARKET_RESOLVED) {
        if (HAS(S_TIME) && !milliseconds_of(slots[S_TIME], &event.venue_ms)) event.venue_ms = 0;
        if (kind == MARKET_RESOLVED && HAS(S_WINNER)) {
            token = token_of(ids, slots[S_WINNER]);
            if (token != SCAN_UNKNOWN) f->winner = token;
        }
        return keep_event(f, &event, kind, token) ? p : NULL;
    }
    if (!HAS(S_TIME) || !milliseconds_of(slots[S_TIME], &event.venue_ms)) return NULL;
    if (kind == PRICE_CHANGE) {
        /* Levels of a stray bids or asks list would be taken for entries. */
        if (!HAS(S_CHANGES) || HAS(S_BIDS) || HAS(S_ASKS)) return NULL;
        return keep_event(f, &event, kind, token) ? p : NULL;
    }
    if (!HAS(S_ASSET)) return NULL;
    token = asset_of(ids, slots[S_ASSET]);
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

static int general(scan_frame_t *f, const scan_ids_t *ids, const char *data, const char *end)
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
                if (!(p = event_at(f, ids, p, end))) return SCAN_PUNT;
                p = blanks(p, end);
                if (p >= end) return SCAN_PUNT;
                if (*p == ']') break;
                if (*p != ',') return SCAN_PUNT;
                p = blanks(p + 1, end);
            }
            p++;
        }
    } else if (!(p = event_at(f, ids, p, end))) {
        return SCAN_PUNT;
    }
    return blanks(p, end) == end ? SCAN_GENERAL : SCAN_PUNT;
}

#endif
