#pragma once

namespace lapidary::cuda {

/// The first parameter of a kernel that may start before the kernel in front of it in its stream has ended
/// (programmatic dependent launch): launch() adds it, and asks the device for no more than the start of all
/// blocks in front. A kernel without it starts when all work in front is done.
///
/// Such a kernel calls ptx::wait_for_previous() once on each thread, also on those that have nothing to do,
/// before its first access to global memory that a kernel, a copy or a sum over ranks ever writes while the
/// model runs; before it, it may read weights and nothing else. That is enough:
///   - reads: when the wait returns the kernel in front has ended and what it wrote is visible. That kernel
///     had ended its own waits, so the one in front of it has ended too, and so on: all earlier work is done.
///     (So no block may end without the wait, or the chain would have a gap.)
///   - writes: a buffer that is used again by a later kernel is written behind that kernel's wait, when all
///     its earlier readers have ended, however many kernels lie between.
///   - copies, events, kernels of libraries and kernels without this parameter wait for all work in front,
///     and all work behind them waits for them, as ever.
/// ptx::let_next_start() lets the next kernel's blocks take the slots that this kernel's leave free, as soon
/// as all its blocks have said so or ended. It says nothing about data, so it comes first.
struct EarlyStart {};

}  // namespace lapidary::cuda
