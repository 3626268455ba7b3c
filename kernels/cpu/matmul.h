#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/tensor.h"
#include "kernels/thread_pool.h"

namespace lapidary::cpu {

/// Memory of matmul(): rows of x as the tile kernels want them, and each thread's sums. Grown by reserve()
/// only.
class MatmulScratch {
 public:
  MatmulScratch(const Isa& isa, int threads);

  /// Enough for rows of up to `width` elements. Products of more rows than memory is kept for go slab by
  /// slab.
  void reserve(int64_t rows, int64_t width);
  size_t bytes() const;

 private:
  friend class MatmulRun;
  const Isa* isa_;
  Buffer operand_;
  size_t operand_bytes_ = 0;
  std::vector<Buffer> sums_;  // one a thread
};

/// Backend::matmul. Every element of y is made by one sequence of operations that w.sums and the instruction
/// set alone decide: rows, threads and the cutting into blocks change no bit. Throws std::logic_error for
/// shapes that don't fit each other or the scratch. The epilogue's gelu is left to the caller.
void matmul(ThreadPool& threads, const Isa& isa, MatmulScratch& scratch, Tensor y, Tensor x, const Matrix& w,
            const Epilogue& end);

}  // namespace lapidary::cpu
