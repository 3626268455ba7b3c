#include "coordinator/cli/bench/onednn.h"

#include <omp.h>

#include <chrono>
#include <dnnl.hpp>
#include <thread>

namespace lapidary {

std::optional<double> onednn_matmul_seconds(int64_t m, int64_t n, int64_t k, bool bf16, int threads) {
  using dnnl::memory;
  omp_set_num_threads(threads);  // this oneDNN runs on OpenMP's threads
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const auto type = bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const memory::desc x_desc({m, k}, type, memory::format_tag::ab);
  const memory::desc w_desc({k, n}, type, memory::format_tag::any);
  const memory::desc y_desc({m, n}, memory::data_type::f32, memory::format_tag::ab);
  const dnnl::matmul::primitive_desc desc(dnnl::matmul::desc(x_desc, w_desc, y_desc), engine);
  memory x(x_desc, engine), w(desc.weights_desc(), engine), y(y_desc, engine);
  // Filled by oneDNN's own conversion from float32, in the layout it chose.
  const auto fill = [&](memory& to, memory::dims dims, memory::format_tag tag) {
    memory plain({dims, memory::data_type::f32, tag}, engine);
    auto* values = static_cast<float*>(plain.get_data_handle());
    for (int64_t i = 0; i < dims[0] * dims[1]; ++i)
      values[i] = static_cast<float>(static_cast<int32_t>(static_cast<uint32_t>(i) * 2654435761u)) * 0x1p-31f;
    dnnl::reorder(plain, to).execute(stream, plain, to);
    stream.wait();
  };
  fill(x, {m, k}, memory::format_tag::ab);
  fill(w, {k, n}, memory::format_tag::ba);

  const dnnl::matmul product(desc);
  const auto run = [&] {
    product.execute(stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, y}});
    stream.wait();
  };
  run();
  const auto start = std::chrono::steady_clock::now();
  run();
  const auto end = std::chrono::steady_clock::now();
  // OpenMP's threads spin for some milliseconds yet: what is timed next would share its cores with them.
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  return std::chrono::duration<double>(end - start).count();
}

}  // namespace lapidary
