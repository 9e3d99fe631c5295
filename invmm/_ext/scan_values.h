/* Keys and values of a frame in any order and any blanks: plain ASCII strings only. Escapes, non-ASCII text, JSON numbers in
 * place of strings and everything malformed are NULL, for the parser.
 *
 * A value whose form is the venue's is read at once, and its length is guessed by a branch: what follows need not wait for it.
 */
#ifndef INVMM_SCAN_VALUES_H
#define INVMM_SCAN_VALUES_H

#include "frame.h"

enum slot { S_EVENT, S_ASSET, S_TIME, S_PRICE, S_SIZE, S_SIDE, S_BEST_BID, S_BEST_ASK, S_TICK, S_NEW_TICK,
            S_WINNER, S_HASH, S_MARKET, S_BIDS, S_ASKS, S_CHANGES, SLOTS };
#define UNREAD (1u << S_HASH | 1u << S_MARKET) /* known keys whose values mean nothing here */
#define HAS(slot) ((seen >> (slot)) & 1u)

/* A plain string; value: what it means where that was seen at once (price_e4, size_micro, ms, token, side), or -1. */
typedef struct { const char *at; ptrdiff_t n; int64_t value; } text_t;

INLINE const char *blanks(const char *p, const char *end)
{
    if (LIKELY(p < end)) { /* none or one is usual */
        if (*p > ' ') return p;
        if (end - p > 1 && p[1] > ' ' && *p == ' ') return p + 1; /* a guess: the next read need not wait for this one */
    }
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

#define WORD(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define KEY(text, slot) \
    if (DIFFERS(key, text "\"") == 0) do { \
        *stop = key + sizeof(text) - 1; \
        return slot; \
    } while (0)
#define KEY_ROOM 24 /* the longest key and its quote, in whole words */

/* Slot of the key that begins at `key`, and the quote behind it; -1 for any other. Reads KEY_ROOM bytes.
 * Guessing by the first letters makes the length of a known key a constant: what follows it is read without waiting. */
INLINE int slot_at(const char *key, const char **stop)
{
    switch (load_4(key)) {
    case WORD('p', 'r', 'i', 'c'): KEY("price", S_PRICE); KEY("price_changes", S_CHANGES); break;
    case WORD('s', 'i', 'z', 'e'): KEY("size", S_SIZE); break;
    case WORD('s', 'i', 'd', 'e'): KEY("side", S_SIDE); break;
    case WORD('h', 'a', 's', 'h'): KEY("hash", S_HASH); break;
    case WORD('m', 'a', 'r', 'k'): KEY("market", S_MARKET); break;
    case WORD('a', 's', 's', 'e'): KEY("asset_id", S_ASSET); break;
    case WORD('b', 'e', 's', 't'): KEY("best_bid", S_BEST_BID); KEY("best_ask", S_BEST_ASK); break;
    case WORD('t', 'i', 'm', 'e'): KEY("timestamp", S_TIME); break;
    case WORD('e', 'v', 'e', 'n'): KEY("event_type", S_EVENT); break;
    case WORD('b', 'i', 'd', 's'): KEY("bids", S_BIDS); break;
    case WORD('a', 's', 'k', 's'): KEY("asks", S_ASKS); break;
    case WORD('t', 'i', 'c', 'k'): KEY("tick_size", S_TICK); break;
    case WORD('n', 'e', 'w', '_'): KEY("new_tick_size", S_NEW_TICK); break;
    case WORD('w', 'i', 'n', 'n'): KEY("winning_asset_id", S_WINNER); break;
    }
    return -1;
}

/* The same for any key, near the end of a frame too; NULL in `stop` if it is no plain string. */
INLINE int slot_of(const char *key, const char *end, const char **stop)
{
    char copy[KEY_ROOM] = {0};
    const char *ignored;
    int slot;
    if (LIKELY(end - key >= KEY_ROOM)) {
        slot = slot_at(key, stop);
        if (LIKELY(slot >= 0)) return slot;
        *stop = string_end(key, end);
        return -1;
    }
    *stop = string_end(key, end);
    if (!*stop) return -1;
    memcpy(copy, key, (size_t)(*stop - key) + 1);
    return slot_at(copy, &ignored);
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

/* Which of the two ids begins at p and is followed by a quote; SCAN_UNKNOWN if neither, or too near the end to tell. */
INLINE int token_at(const scan_ids_t *ids, const char *p, const char *end)
{
    text_check_t check;
    int token, n;
    if (UNLIKELY(ids->probe < 0 || end - p <= ID_LONGEST)) return SCAN_UNKNOWN;
    token = load_8(p + ids->probe) == ids->down_probe;
    n = ids->length[token];
    check_begin(&check);
    check_equal(&check, p, ids->id[token], ID_SHORTEST);
    check_equal(&check, p + n - 16, ids->id[token] + n - 16, 16);
    return p[n] == '"' && LIKELY(!check_differs(&check)) ? token : SCAN_UNKNOWN;
}

static int token_of(const scan_ids_t *ids, text_t id)
{
    int token;
    for (token = 0; token < 2; token++)
        if (id.n == ids->length[token] && memcmp(id.at, ids->id[token], (size_t)id.n) == 0) return token;
    return SCAN_UNKNOWN;
}

INLINE int asset_of(const scan_ids_t *ids, text_t id)
{
    return LIKELY(id.value >= 0) ? (int)id.value : token_of(ids, id);
}

static int price_slowly(text_t text, int32_t *price)
{
    int64_t value;
    if (decimal_exact(text.at, text.n, 4, 9999, &value) || value == 0) return 0;
    *price = (int32_t)value;
    return 1;
}

INLINE int price_of(text_t text, int32_t *price)
{
    *price = (int32_t)text.value;
    return LIKELY(text.value > 0 && text.value < 10000) || price_slowly(text, price);
}

INLINE int size_of(text_t text, int64_t *size)
{
    *size = text.value;
    return LIKELY(text.value >= 0) || decimal_exact(text.at, text.n, 6, SIZE_LIMIT_MICRO, size) == DECIMAL_OK;
}

/* A best price that may be absent, empty ("" says nothing), 0 or 1. */
INLINE int best_of(text_t text, int present, int32_t *best)
{
    int64_t value;
    *best = -1;
    if (!present || text.n == 0) return 1;
    *best = (int32_t)text.value;
    if (LIKELY(text.value >= 0)) return 1;
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
    *ms = text.value;
    if (LIKELY(text.value >= 0)) return 1;
    if (text.n < 1 || text.n > 18) return 0;
    for (i = 0; i < text.n; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') return 0;
        value = value * 10 + (text.at[i] - '0');
    }
    *ms = value;
    return 1;
}

#define VALUE_ROOM 96 /* the longest id and its quote, or the widest read of a number */

/* Reads the string that begins at p into its slot; gives its closing quote, NULL if it is no plain string. */
INLINE const char *text_at(const scan_ids_t *ids, const char *p, const char *end, int slot, text_t *text)
{
    const char *stop;
    int n = 0;
    text->at = p;
    text->value = -1;
    if (LIKELY(end - p >= VALUE_ROOM)) {
        switch (slot) {
        case S_PRICE: case S_BEST_BID: case S_BEST_ASK: case S_TICK: case S_NEW_TICK:
            text->value = best_at(p, &n);
            break;
        case S_SIZE:
            text->value = size_at(p, &n);
            break;
        case S_TIME:
            n = 13;
            if (p[13] == '"') text->value = milliseconds_at(p);
            break;
        case S_SIDE:
            n = p[3] == '"' ? 3 : 4;
            text->value = p[n] == '"' && special_16(p) << (32 - n) == 0 ? 0 : -1; /* which side, `side_of` tells */
            break;
        case S_ASSET: {
            int token = token_at(ids, p, end);
            if (LIKELY(token != SCAN_UNKNOWN)) {
                text->value = token;
                n = ids->length[token];
            }
            break;
        }
        }
        if (LIKELY(text->value >= 0)) {
            text->n = n;
            return p + n;
        }
    }
    stop = string_end(p, end);
    text->n = stop ? stop - p : 0;
    return stop;
}

/* Behind the value of S_HASH or S_MARKET at p, a string of a known length as a rule; NULL punts. */
INLINE const char *unread_end(const char *p, const char *end, int slot)
{
    const ptrdiff_t n = slot == S_HASH ? 40 : 66;
    if (LIKELY(end - p > n + 1 && p[0] == '"' && p[n + 1] == '"')) {
        text_check_t check;
        check_begin(&check);
        if (slot == S_HASH) check_plain(&check, p + 1, 40);
        else check_plain(&check, p + 1, 66);
        if (LIKELY(!check_failed(&check))) return p + n + 2;
    }
    return value_end(p, end, 16);
}

#endif
