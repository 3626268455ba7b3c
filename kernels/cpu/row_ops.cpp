#include "kernels/cpu/row_ops.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/cpu/isa/row_kernels.h"
#include "kernels/cpu/pack.h"

namespace lapidary::cpu {
namespace {

// Less work than this is done before other threads have woken.
constexpr int64_t kWorthForking = 16384;
// Columns are cut at multiples of this many elements: whole cache lines of any type.
constexpr int64_t kColumnGrain = 64;

void require(bool holds, const char* operation, const char* rule) {
  if (!holds) throw std::logic_error(std::string(operation) + ": " + rule);
}

void require_f32(const char* operation, Tensor x) {
  require(x.dtype == DType::f32 && (x.rows() <= 1 || x.stride >= x.cols()), operation,
          "rows of float32 that don't overlap are wanted");
}

void require_same(const char* operation, Tensor x, Tensor y) {
  require_f32(operation, x);
  require_f32(operation, y);
  require(x.shape == y.shape, operation, "both shapes must be equal");
}

/// body(row) for each row, each by one thread.
template <class Body>
void for_rows(ThreadPool& threads, int64_t rows, int64_t cols, const Body& body) {
  const auto part = [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) body(r);
  };
  if (rows * cols < kWorthForking) return part(0, rows);
  threads.parallel_for(rows, 1, part);
}

/// body(row, first column, columns) over all elements, a few rows cut along their columns.
template <class Body>
void for_elements(ThreadPool& threads, int64_t rows, int64_t cols, const Body& body) {
  if (rows >= threads.size() || rows * cols < kWorthForking) {
    return for_rows(threads, rows, cols, [&](int64_t r) { body(r, int64_t{0}, cols); });
  }
  threads.parallel_for(cols, kColumnGrain, [&](int64_t begin, int64_t end) {
    for (int64_t r = 0; r < rows && begin < end; ++r) body(r, begin, end - begin);
  });
}

}  // namespace

void rms_norm(ThreadPool& threads, const Isa& isa, Tensor y, Tensor x, const float* gain, float eps) {
  require_same("rms_norm", y, x);
  for_rows(threads, x.rows(), x.cols(),
           [&](int64_t r) { isa.rows->rms_norm(y.row<float>(r), x.row<float>(r), gain, eps, x.cols()); });
}

void layer_norm(ThreadPool& threads, const Isa& isa, Tensor y, Tensor x, const float* gain, const float* bias,
                float eps) {
  require_same("layer_norm", y, x);
  for_rows(threads, x.rows(), x.cols(), [&](int64_t r) {
    isa.rows->layer_norm(y.row<float>(r), x.row<float>(r), gain, bias, eps, x.cols());
  });
}

void add(ThreadPool& threads, const Isa& isa, Tensor x, Tensor y) {
  require_same("add", x, y);
  for_elements(threads, x.rows(), x.cols(), [&](int64_t r, int64_t c, int64_t n) {
    isa.rows->add(x.row<float>(r) + c, y.row<float>(r) + c, n);
  });
}

void add_bias(ThreadPool& threads, const Isa& isa, Tensor x, const float* bias) {
  require_f32("add_bias", x);
  for_elements(threads, x.rows(), x.cols(),
               [&](int64_t r, int64_t c, int64_t n) { isa.rows->add(x.row<float>(r) + c, bias + c, n); });
}

void scale(ThreadPool& threads, const Isa& isa, Tensor x, float factor) {
  require_f32("scale", x);
  for_elements(threads, x.rows(), x.cols(),
               [&](int64_t r, int64_t c, int64_t n) { isa.rows->scale(x.row<float>(r) + c, factor, n); });
}

void gelu(ThreadPool& threads, const Isa& isa, Tensor x) {
  require_f32("gelu", x);
  for_elements(threads, x.rows(), x.cols(),
               [&](int64_t r, int64_t c, int64_t n) { isa.rows->gelu(x.row<float>(r) + c, n); });
}

void gelu_mul(ThreadPool& threads, const Isa& isa, Tensor y, Tensor gate_up) {
  require_f32("gelu_mul", y);
  require_f32("gelu_mul", gate_up);
  require(y.rows() == gate_up.rows() && gate_up.cols() == 2 * y.cols(), "gelu_mul",
          "gate_up must be [rows, 2 n] for y [rows, n]");
  for_elements(threads, y.rows(), y.cols(), [&](int64_t r, int64_t c, int64_t n) {
    const float* gate = gate_up.row<float>(r) + c;
    isa.rows->gelu_mul(y.row<float>(r) + c, gate, gate + y.cols(), n);
  });
}

void softcap(ThreadPool& threads, const Isa& isa, Tensor x, float cap) {
  require_f32("softcap", x);
  require(cap > 0, "softcap", "the cap must be above 0");
  for_elements(threads, x.rows(), x.cols(),
               [&](int64_t r, int64_t c, int64_t n) { isa.rows->softcap(x.row<float>(r) + c, cap, n); });
}

void rope(ThreadPool& threads, const Isa& isa, Tensor x, int64_t head_dim, Tensor cos_sin,
          std::span<const int32_t> positions) {
  require_f32("rope", x);
  require_f32("rope", cos_sin);
  require(head_dim > 0 && head_dim % 2 == 0 && x.cols() % head_dim == 0, "rope",
          "rows must be whole heads of even size");
  require(cos_sin.cols() == head_dim && static_cast<int64_t>(positions.size()) == x.rows(), "rope",
          "a table of head_dim columns and one position a row are wanted");
  for (const int32_t p : positions) {
    require(p >= 0 && p < cos_sin.rows(), "rope", "a position lies outside the table");
  }
  for_rows(threads, x.rows(), x.cols(), [&](int64_t r) {
    const float* angles = cos_sin.row<float>(positions[static_cast<size_t>(r)]);
    for (int64_t c = 0; c < x.cols(); c += head_dim)
      isa.rows->rope(x.row<float>(r) + c, angles, head_dim / 2);
  });
}

void copy(ThreadPool& threads, Tensor dst, Tensor src) {
  require(dst.dtype == src.dtype && dst.shape == src.shape, "copy", "shapes and types must be equal");
  for_elements(threads, src.rows(), src.cols(), [&](int64_t r, int64_t c, int64_t n) {
    const auto at = [&](Tensor x) { return x.row_range(r, r + 1).col_range(c, c + n).data; };
    std::memcpy(at(dst), at(src), static_cast<size_t>(n) * size_of(src.dtype));
  });
}

void patchify(ThreadPool& threads, Tensor y, const uint8_t* rgb, int64_t size, int64_t patch,
              const float* value_of) {
  constexpr int64_t kChannels = 3;
  require_f32("patchify", y);
  require(patch > 0 && size >= patch, "patchify", "the image must hold a patch");
  const int64_t grid = size / patch;
  require(y.rows() == grid * grid && y.cols() == kChannels * patch * patch, "patchify",
          "y must be [patches, channels * patch * patch]");
  for_rows(threads, y.rows(), y.cols(), [&](int64_t r) {
    const uint8_t* corner = rgb + ((r / grid) * patch * size + (r % grid) * patch) * kChannels;
    float* out = y.row<float>(r);
    for (int64_t channel = 0; channel < kChannels; ++channel) {
      for (int64_t ky = 0; ky < patch; ++ky) {
        const uint8_t* in = corner + ky * size * kChannels + channel;
        for (int64_t kx = 0; kx < patch; ++kx) *out++ = value_of[in[kx * kChannels]];
      }
    }
  });
}

void embed(ThreadPool& threads, const Isa& isa, Tensor y, const Matrix& table, std::span<const int32_t> ids,
           Tensor token_table, int64_t first_id, float factor) {
  require_f32("embed", y);
  require(y.cols() == table.in && static_cast<int64_t>(ids.size()) == y.rows(), "embed",
          "y must be [ids, columns of the table]");
  const auto token_of = [&](int32_t id) {
    const int32_t place = Backend::token_slot_id(id);  // its own inverse
    return id < 0 && place < token_table.rows() ? *token_table.row<int32_t>(place) : id;
  };
  for_rows(threads, y.rows(), y.cols(), [&](int64_t r) {
    float* out = y.row<float>(r);
    const int64_t row = token_of(ids[static_cast<size_t>(r)]) - first_id;
    if (row >= 0 && row < table.out) {
      unpack_row(isa, table, row, out);
      isa.rows->scale(out, factor, y.cols());
    } else {
      std::fill_n(out, y.cols(), 0.0f);
    }
  });
}

}  // namespace lapidary::cpu
