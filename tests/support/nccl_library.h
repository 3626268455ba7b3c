#pragma once

namespace lapidary {

/// The NCCL by which ranks as threads add up in this program, as the loader finds it; empty: none.
const char* nccl_library();

}  // namespace lapidary
