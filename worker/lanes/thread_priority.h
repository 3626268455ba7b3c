#pragma once

namespace lapidary {

/// Gives the calling thread, and those it starts from now on, a lower priority (nice 10) than the threads of
/// the decoder lane. Where both want one core, a decode step, which its peers wait for, gets nine tenths of
/// it, and an encode fills the gaps; on cores of its own it runs as fast as ever. Does nothing where it
/// can't.
void lower_priority();

}  // namespace lapidary
