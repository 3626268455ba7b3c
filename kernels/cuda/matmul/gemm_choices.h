#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "kernels/cuda/matmul/gemm_library.h"

namespace lapidary::cuda {

/// What the choice of an algorithm depends on: bucket of rows, out, in, dtypes of x and y, alignment of y,
/// what is done to the sums, multiprocessors.
using GemmKey = std::array<int64_t, 8>;
GemmKey key_of(const GemmCall& call);

/// Rows, to the next of four steps an octave: so many share a choice.
int64_t row_bucket(int64_t rows);

/// The largest power of two up to 16 that divides all rows' addresses.
int alignment_of(Tensor t);

/// The algorithm of each kind of product: measured ones, which a file keeps, and guesses of the library.
class GemmChoices {
 public:
  /// `folder` (empty: no file) keeps the choices of each device and version of the library apart. A file that
  /// cannot be read, is broken, or is of others, counts as none.
  GemmChoices(const std::filesystem::path& folder, const std::string& device, const std::string& version);

  /// Null: none was made.
  const Algorithm* find(const GemmKey& key) const;
  bool is_measured(const GemmKey& key) const { return measured_.contains(key); }
  void guess(const GemmKey& key, const Algorithm& algorithm) { guessed_[key] = algorithm; }
  void measure(const GemmKey& key, const Algorithm& algorithm);

  /// Writes what was measured since, beside what others wrote meanwhile. Whole files take each other's place,
  /// so that processes may do this at once; where the folder cannot be written the next start measures again.
  void save();

 private:
  std::map<GemmKey, Algorithm> read() const;

  std::filesystem::path file_;
  std::string title_;
  std::map<GemmKey, Algorithm> measured_, guessed_;
  bool changed_ = false;
};

}  // namespace lapidary::cuda
