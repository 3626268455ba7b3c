#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "sharding/comm/communicator.h"

namespace lapidary {

/// What a rank did for the others' sake.
enum class CommWork { collective, receive };
/// Hears of each operation when it has ended, on its thread; times are of steady_time().
using CommTimer = std::function<void(CommWork work, int64_t begin, int64_t end)>;

/// `comm` with its sums, gathers and broadcasts, and its waits for messages, measured; also those of the
/// groups that it is split into. `comm` outlives the result. Collectives of a group of one are nothing, and
/// not measured; nor are barriers, which only loading needs.
std::unique_ptr<Communicator> make_timed(Communicator& comm, CommTimer timer);

}  // namespace lapidary
