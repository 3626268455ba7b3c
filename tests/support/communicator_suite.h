#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "configs/error.h"
#include "sharding/comm/device_comm.h"
#include "sharding/plan/plan.h"

namespace lapidary {

/// What rank `from` sends as its message `index` of a channel.
inline std::vector<std::byte> message_of(int from, Channel channel, size_t index, size_t bytes) {
  std::vector<std::byte> data(bytes);
  for (size_t i = 0; i < bytes; ++i)
    data[i] = static_cast<std::byte>(static_cast<size_t>(from) * 31 + static_cast<size_t>(channel) * 7 +
                                     index * 3 + i);
  return data;
}

/// Around the ring in both directions at once, all channels interleaved; every rank sends everything before
/// it receives anything, so a send that waited for its receiver would hang.
inline void check_messages(Communicator& comm) {
  const int ranks = comm.size(), me = comm.rank(), next = (me + 1) % ranks, before = (me + ranks - 1) % ranks;
  constexpr Channel kChannels[] = {Channel::activations, Channel::tokens, Channel::embeddings};
  constexpr size_t kSizes[] = {0, 1, 4, 1000, 70'000, 4 << 20, 3, 0, 300'001};
  if (ranks == 1) {
    try {
      comm.send({}, 0, Channel::tokens);
    } catch (const std::logic_error&) {
      return;
    }
    throw std::runtime_error("a group of one sent a message");
  }
  for (size_t i = 0; i < std::size(kSizes); ++i)
    for (Channel channel : kChannels)
      for (int to : {next, before})
        comm.send(message_of(me, channel, i + (to == next ? 0 : 100), kSizes[i]), to, channel);
  std::vector<std::byte> got;
  // Two ranks are each other's next and before: then both directions' messages are alike.
  for (auto channel = std::rbegin(kChannels); channel != std::rend(kChannels); ++channel)
    for (size_t i = 0; i < std::size(kSizes); ++i)
      for (int from : {before, next}) {
        got.assign(kSizes[i], std::byte{255});
        comm.receive(got, from, *channel);
        const size_t index = i + (from == before ? 0 : 100);
        if (got != message_of(from, *channel, index, kSizes[i]))
          throw std::runtime_error(cat("rank ", me, " of ", ranks, ": message ", i, " of ", kSizes[i],
                                       " bytes from ", from, " on channel ", static_cast<int>(*channel)));
      }
  while (comm.progress()) {
  }
  comm.barrier();
}

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
    comm.all_reduce(view(y.data(), DType::f32, 1, n), view(partials.data(), DType::f32, mine, n), finish);
    for (int64_t i = 0; i < n; ++i) {
      float sum = 0;
      for (int r = 0; r < ranks; ++r)
        for (int b = 0; b < finish.blocks[static_cast<size_t>(r)]; ++b)
          sum += static_cast<float>((r + 1) * (b + 1) + i % 7);
      expect(y[static_cast<size_t>(i)] == sum, cat("all_reduce of ", n, " at ", i));
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

  std::vector<int32_t> rows(static_cast<size_t>(ranks * 6)), my_rows(6, comm.rank());
  const auto on_host = make_host_rows(comm);
  on_host->all_gather(view(rows.data(), DType::i32, ranks * 2, 3), view(my_rows.data(), DType::i32, 2, 3));
  for (size_t i = 0; i < rows.size(); ++i) expect(rows[i] == static_cast<int32_t>(i / 6), "gathered rows");
  on_host->broadcast(view(my_rows.data(), DType::i32, 2, 3), ranks - 1);
  expect(my_rows == std::vector<int32_t>(6, ranks - 1), "broadcast rows");

  auto half = comm.split(comm.rank() % 2);
  expect(half->size() == (ranks + (comm.rank() % 2 == 0 ? 1 : 0)) / 2, "size of a split");
  expect(half->rank() == comm.rank() / 2, "rank in a split");
  const auto texts = gather_texts(*half, std::to_string(comm.rank()));
  for (size_t i = 0; i < texts.size(); ++i)
    expect(texts[i] == std::to_string(static_cast<int>(i) * 2 + comm.rank() % 2), "texts of a split");

  check_messages(comm);
  check_messages(*half);
  // The same ranks in two groups at once: neither takes the other's.
  if (half->size() > 1) {
    const int other = half->rank() == 0 ? 1 : 0;
    if (half->rank() < 2) {
      half->send(message_of(0, Channel::tokens, 1, 10), other, Channel::tokens);
      comm.send(message_of(0, Channel::tokens, 2, 10), comm.rank() % 2 + 2 * other, Channel::tokens);
      std::vector<std::byte> got(10);
      comm.receive(got, comm.rank() % 2 + 2 * other, Channel::tokens);
      expect(got == message_of(0, Channel::tokens, 2, 10), "the whole group's message");
      half->receive(got, other, Channel::tokens);
      expect(got == message_of(0, Channel::tokens, 1, 10), "the part's message");
    }
  }
  comm.barrier();
}

/// The operations on a backend's tensors, of a DeviceComm; `host` is the same group's
/// and says what sums come to, bit by bit where the communicator promises it.
inline void check_rows(DeviceComm& comm, Backend& ops, Communicator& host, bool deterministic) {
  const int ranks = comm.size(), me = comm.rank();
  const auto expect = [&](bool right, const std::string& what) {
    if (!right) throw std::runtime_error(cat("rank ", me, " of ", ranks, ": ", what));
  };
  std::vector<Buffer> kept;
  const auto on_device = [&](const std::vector<float>& values, int64_t rows) {
    const auto cols = static_cast<int64_t>(values.size()) / rows;
    kept.push_back(ops.allocate(std::max<size_t>(1, values.size() * sizeof(float))));
    const Tensor tensor = view(kept.back().get(), DType::f32, rows, cols);
    ops.copy(tensor, view(const_cast<float*>(values.data()), DType::f32, rows, cols));
    return tensor;
  };
  const auto fetched = [&](Tensor tensor) {
    std::vector<float> values(static_cast<size_t>(tensor.rows() * tensor.cols()));
    ops.copy(view(values.data(), DType::f32, tensor.rows(), tensor.cols()), tensor);
    return values;
  };
  const auto numbers = [](int seed, int64_t n) {  // no two of a column add up to a power of two
    std::vector<float> values(static_cast<size_t>(n));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>((static_cast<size_t>(seed) * 7919 + i * 104729) % 10007) / 997.0f;
    return values;
  };

  const SumTree tree = SumTree::of_heads(16, 4);
  std::vector<Range> deal;
  for (int r = 0; r < ranks; ++r) deal.push_back(part(tree.leaves(), r, ranks));
  SumTree::Finish finish = tree.finish(deal);
  if (!deterministic) {
    finish.blocks.assign(static_cast<size_t>(ranks), 1);
    finish.merges.assign(static_cast<size_t>(ranks), 1);
    finish.merges[0] = 0;
  }
  const int64_t blocks = finish.blocks[static_cast<size_t>(me)];
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {3, 5}, {7, 300}, {40, 64}}) {
    std::vector<float> mine = numbers(me + 1, blocks * rows * cols);
    std::vector<float> wanted(static_cast<size_t>(rows * cols));
    host.all_reduce(view(wanted.data(), DType::f32, rows, cols),
                    view(mine.data(), DType::f32, blocks * rows, cols), finish);
    const Tensor y = on_device(std::vector<float>(wanted.size(), -1), rows);
    comm.all_reduce(y, on_device(mine, blocks * rows), finish);
    const std::vector<float> sum = fetched(y);
    for (size_t i = 0; i < sum.size(); ++i) {
      // In another order each of ranks - 1 additions rounds by at most 2^-24 of the sum, in both sums.
      const float off = deterministic ? 0 : wanted[i] * static_cast<float>(ranks) * 0x1p-23f;
      expect(std::abs(sum[i] - wanted[i]) <= off, cat("the sum of ", rows, " rows at ", i));
    }

    const auto with_norm = [&](const std::function<void(const AddNorm&)>& add_up) {
      const Tensor x = on_device(numbers(0, rows * cols), rows), h = on_device(wanted, rows);
      const float* gains = on_device(numbers(8, cols), 1).row<float>(0);
      const Tensor room = on_device(std::vector<float>(wanted.size(), -1), rows);
      add_up({h, x, room, gains, rows == 3 ? nullptr : gains, 1e-6f});
      return std::pair(fetched(x), fetched(h));
    };
    const Tensor partials = on_device(mine, blocks * rows);
    const auto apart = with_norm([&](const AddNorm& to) {
      comm.all_reduce(to.y, partials, finish);
      ops.add_rms_norm(to);
    });
    const auto together =
        with_norm([&](const AddNorm& to) { comm.all_reduce_add_norm(ops, to, partials, finish); });
    expect(together == apart, cat("the sum of ", rows, " rows with its norm"));
  }

  const Tensor all = on_device(std::vector<float>(static_cast<size_t>(ranks * 6)), ranks * 2);
  comm.all_gather(all, on_device(numbers(me, 6), 2));
  const std::vector<float> gathered = fetched(all);
  for (int r = 0; r < ranks; ++r)
    expect(std::ranges::equal(numbers(r, 6), std::span(gathered).subspan(static_cast<size_t>(r) * 6, 6)),
           "gathered rows");
  for (int root = 0; root < ranks; ++root) {
    const Tensor rows = on_device(numbers(me, 6), 2);
    comm.broadcast(rows, root);
    expect(fetched(rows) == numbers(root, 6), "broadcast rows");
  }

  // Down the line of ranks, as rows go through stages: a send may wait for its receiver.
  for (const Channel channel : {Channel::activations, Channel::embeddings})
    for (int64_t n : {1, 1000}) {
      const Tensor rows = on_device(numbers(100 + me, n), 1);
      if (me > 0) comm.receive(rows, me - 1, channel);
      if (me > 0) expect(fetched(rows) == numbers(100, n), "rows of another rank");
      if (me + 1 < ranks) comm.send(rows, me + 1, channel);
      ops.synchronize();
    }
  while (host.progress()) {
  }
  host.barrier();
}

}  // namespace lapidary
