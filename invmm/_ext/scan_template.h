/* The exact text of most frames, price_change, read at the speed of comparing it: every literal is checked at the place where
 * it must stand, and what was wrong is asked once, at the end. Anything else is SCAN_PUNT.
 */
#ifndef INVMM_SCAN_TEMPLATE_H
#define INVMM_SCAN_TEMPLATE_H

#include "frame.h"

/* Literals and hash of an entry (134 bytes when spaced), numbers at their widest (33), the widest read beyond (17).
 * Of a valid frame, whose last entry is followed by at least 58 bytes, this much is always left. */
#define ENTRY_ROOM 184

#define STEP(literal, compact) p += spaced ? sizeof(literal) - 1 : sizeof(compact) - 1
#define EXPECT(literal, compact) do { \
        if (spaced) CHECK(&check, p, literal); else CHECK(&check, p, compact); \
        STEP(literal, compact); \
    } while (0)

INLINE int price_change_template(
    scan_frame_t *f, const scan_ids_t *ids, const char *data, const char *end, const int spaced)
{
    static const char spaced_sides[2][16] = {"\", \"side\":\"BUY\",", "\", \"side\":\"SELL\""};
    static const char compact_sides[2][16] = {"\",\"side\":\"BUY\",\"", "\",\"side\":\"SELL\","};
    const char (*const sides)[16] = spaced ? spaced_sides : compact_sides;
    const char *p = data;
    scan_event_t *event = &f->events[0];
    scan_level_t *level = f->levels, *last = f->levels + SCAN_LEVELS;
    const ptrdiff_t room = ENTRY_ROOM + ids->longest;
    uint64_t wrong = 0;
    text_check_t check;
    int n;
    check_begin(&check);
    CHECK(&check, p, "{\"market\":\"");
    check_plain(&check, p + 11, 66);
    p += 77;
    EXPECT("\", \"price_changes\":[", "\",\"price_changes\":[");
    event->best_bid[0] = event->best_bid[1] = event->best_ask[0] = event->best_ask[1] = -1;
    for (;;) {
        int token, side, bid, ask;
        int32_t price;
        int64_t size;
        if (UNLIKELY(end - p < room || level == last)) return SCAN_PUNT;
        CHECK(&check, p, "{\"asset_id\":\"");
        p += 13;
        token = load_8(p + ids->probe) == ids->down_probe; /* no branch: which token comes first is a coin toss */
        n = ids->length[token];
        check_equal(&check, p, ids->id[token], ID_SHORTEST);
        check_equal(&check, p + n - 16, ids->id[token] + n - 16, 16);
        p += n;
        EXPECT("\", \"price\":\"", "\",\"price\":\"");
        price = price_at(p, &n);
        if (UNLIKELY(price <= 0)) return SCAN_PUNT;
        p += n;
        EXPECT("\", \"size\":\"", "\",\"size\":\"");
        size = size_at(p, &n);
        if (UNLIKELY(size < 0)) return SCAN_PUNT;
        p += n;
        side = p[10 + spaced] == 'S';
        check_equal(&check, p, sides[side], 16);
        p += 13 + spaced + side;
        EXPECT("\", \"hash\":\"", "\",\"hash\":\"");
        check_plain(&check, p, 40);
        p += 40;
        EXPECT("\", \"best_bid\":\"", "\",\"best_bid\":\"");
        bid = best_at(p, &n);
        if (UNLIKELY(bid < 0)) return SCAN_PUNT;
        p += n;
        EXPECT("\", \"best_ask\":\"", "\",\"best_ask\":\"");
        ask = best_at(p, &n);
        if (UNLIKELY(ask < 0)) return SCAN_PUNT;
        p += n;
        wrong |= load_2(p) ^ 0x7d22u; /* "} */
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
        if (spaced) wrong |= (uint64_t)(p[-1] ^ ' ');
    }
    if (UNLIKELY(end - p != (spaced ? 60 : 58))) return SCAN_PUNT; /* the text below */
    EXPECT("], \"timestamp\":\"", "],\"timestamp\":\"");
    event->venue_ms = milliseconds_at(p);
    p += 13;
    EXPECT("\", \"event_type\":\"price_change\"}", "\",\"event_type\":\"price_change\"}");
    if (UNLIKELY(wrong || event->venue_ms < 0 || check_failed(&check))) return SCAN_PUNT;
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

#undef STEP
#undef EXPECT

#endif
