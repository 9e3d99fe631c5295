"""The book alone: levels in, best, depth and average prices out; then both books of a market from frames."""

from invmm import Book, MarketBooks, Side

SHARE = 1_000_000  # sizes are micro-shares, prices 1e-4 dollars

book = Book(tick_e4=100)
for price_e4, shares in ((4700, 300), (4800, 200), (4900, 100)):
    book.apply(Side.BUY, price_e4, shares * SHARE)
book.apply(Side.SELL, 5100, 80 * SHARE)
book.apply(Side.SELL, 5200, 120 * SHARE)
print("best bid", book.best_bid(), "best ask", book.best_ask())

for level in book.depth(Side.BUY, 2):
    print("depth", level["price_e4"], level["size_micro"] // SHARE)

average, filled_micro = book.vwap(Side.SELL, 100 * SHARE)
print(f"buying 100 shares costs {average:.4f} dollars each ({filled_micro // SHARE} are there)")

book.apply(Side.BUY, 4900, 0)  # a size of 0 takes the level away
print("best bid now", book.best_bid())
book.check()  # asserts every invariant

UP, DOWN = "1" * 77, "2" * 77
books = MarketBooks(UP, DOWN)
frame = (
    f'{{"market":"0x{"ab" * 32}","asset_id":"{UP}","timestamp":"1700000000000","hash":"{"0" * 40}",'
    '"bids":[{"price":"0.48","size":"100"}],"asks":[{"price":"0.52","size":"50"}],"event_type":"book"}'
)
print("levels changed", books.apply_frame(frame.encode(), 1_700_000_000_000_000_000))
print("Up", books.up.best_bid(), books.up.best_ask())
refused = books.apply_frame(b'{"event_type":"book","bids":7}', 0)
print("refused", refused, "because", books.last_error)
