"""The original strategy's arithmetic in IEEE doubles: inputs, answers and kernels."""

from libc.stdint cimport uint8_t


cdef enum:
    MAX_LEVELS = 31             # per token: 64 cancels + 2 * 31 quotes + 1 taker fit 128 actions
    MAX_OPEN = 64               # own live bids of both tokens together


cdef struct ladder_config_t:
    double tick_size            # dollars
    double base_offset          # dollars below the best ask when balanced
    double min_profit_margin    # dollars per pair
    double max_imbalance        # |delta| at which the heavy side stops, 0…1
    double order_size           # shares per level
    double spread_per_level     # cents between levels
    int num_levels


cdef struct open_bid_t:
    double price                # dollars
    double remaining            # shares
    uint8_t token               # UP or DOWN


cdef struct double_input_t:
    double[2] size              # shares held, Up then Down
    double[2] average           # dollars per share held
    double[2] ask_price         # dollars; read only where has_ask
    double[2] ask_size          # shares
    bint[2] has_ask
    bint[2] ask_is_ours
    int n_bids
    open_bid_t[MAX_OPEN] bids   # Up before Down is not required; order is kept


cdef struct double_output_t:
    double imbalance            # delta, -1…1
    double taker_price          # dollars
    double taker_size           # shares
    double taker_score          # cents of profit per pair
    int[2] n_quotes             # levels of each ladder; 0 after a failed gate
    double price[2][MAX_LEVELS]     # dollars, best first; the size is order_size throughout
    int level[2][MAX_LEVELS]    # ladder level that the quote serves
    bint place[2][MAX_LEVELS]   # the quote has no live order yet
    bint[MAX_OPEN] cancel       # by index of `bids`
    uint8_t[2] reason           # Reason: why a token has no quote, 0 if it has
    uint8_t taker_token
    bint gate_failed            # unprofitable: every bid is cancelled, nothing else is done
    bint has_taker


cdef double imbalance_of(double up, double down) noexcept nogil
cdef double vwap_of(double size, double average, double added, double price) noexcept nogil
cdef void solve_doubles(
    const ladder_config_t* config, const double_input_t* view, double_output_t* out
) noexcept nogil
