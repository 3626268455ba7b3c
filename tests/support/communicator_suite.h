#pragma once

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "configs/error.h"
#include "sharding/communicator.h"
#include "sharding/plan.h"

namespace lapidary {

/// One suite for every kind of communicator: whole-number data, so every sum is exact and wrong is wrong.
/// Throws on the first difference, so that it serves threads, processes and a plain program alike.
inline void check_communicator(Communicator& comm) {
  const int ranks = comm.size();
  const auto expect = [&](bool right, const std::string& what) {
    if (!right) throw std::runtime_error(cat("rank ", comm.rank(), " of ", ranks, ": ", what));
  };

  const SumTree tree = SumTree::of_heads(16, 4);
  std::vector<Range> deal;
  for (int r = 0; r < ranks; ++r) deal.push_back(part(tree.leaves(), r, ranks));
  const auto finish = tree.finish(deal);
  const int mine = finish.blocks[static_cast<size_t>(comm.rank())];
  for (int64_t n : {0, 1, 3, 1000, 16 * 1024, 50'001, 300'000}) {
    std::vector<float> partials(static_cast<size_t>(mine * n)), y(static_cast<size_t>(n), -1);
    for (int b = 0; b < mine; ++b)
      for (int64_t i = 0; i < n; ++i)
        partials[static_cast<size_t>(b * n + i)] = static_cast<float>((comm.rank() + 1) * (b + 1) + i % 7);
    comm.tree_sum(view(y.data(), DType::f32, 1, n), view(partials.data(), DType::f32, mine, n), finish);
    for (int64_t i = 0; i < n; ++i) {
      float sum = 0;
      for (int r = 0; r < ranks; ++r)
        for (int b = 0; b < finish.blocks[static_cast<size_t>(r)]; ++b)
          sum += static_cast<float>((r + 1) * (b + 1) + i % 7);
      expect(y[static_cast<size_t>(i)] == sum, cat("tree_sum of ", n, " at ", i));
    }
  }

  std::vector<size_t> sizes;
  std::string all;
  for (int r = 0; r < ranks; ++r) {
    sizes.push_back(static_cast<size_t>(r * 3 % 7));
    all += std::string(sizes.back(), static_cast<char>('a' + r));
  }
  const std::string own(sizes[static_cast<size_t>(comm.rank())], static_cast<char>('a' + comm.rank()));
  std::string gathered(all.size(), '?');
  comm.all_gather(reinterpret_cast<std::byte*>(gathered.data()), std::as_bytes(std::span(own)), sizes);
  expect(gathered == all, "all_gather of unequal sizes");

  for (int root = 0; root < ranks; ++root)
    for (size_t bytes : {size_t{0}, size_t{1}, size_t{100'000}}) {
      std::string text(bytes, comm.rank() == root ? 'y' : 'n');
      comm.broadcast(reinterpret_cast<std::byte*>(text.data()), bytes, root);
      expect(text == std::string(bytes, 'y'), cat("broadcast of ", bytes, " from ", root));
    }

  auto half = comm.split(comm.rank() % 2);
  expect(half->size() == (ranks + (comm.rank() % 2 == 0 ? 1 : 0)) / 2, "size of a split");
  expect(half->rank() == comm.rank() / 2, "rank in a split");
  const auto texts = gather_texts(*half, std::to_string(comm.rank()));
  for (size_t i = 0; i < texts.size(); ++i)
    expect(texts[i] == std::to_string(static_cast<int>(i) * 2 + comm.rank() % 2), "texts of a split");
  comm.barrier();
}

}  // namespace lapidary
