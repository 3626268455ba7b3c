#pragma once

// What tests ask of NCCL's stand-in beside NCCL's own functions; found by name in its library.

extern "C" {

/// The version that the calling thread's rank believes to have.
void nccl_emulation_set_version(int version);
/// All communicators learn that this rank's process is gone, as over a network.
void nccl_emulation_lose_rank(int rank);
/// Whether GPUs reach each other's memory; at first they do not.
void nccl_emulation_connect_memory(bool connected);
/// In how many streams collectives came, of all ranks since the last call.
int nccl_emulation_take_streams();
}
