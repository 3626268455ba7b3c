#pragma once

#include <cstring>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "configs/error.h"
#include "sharding/communicator.h"
#include "sharding/plan.h"

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

  std::vector<int32_t> rows(static_cast<size_t>(ranks * 6)), my_rows(6, comm.rank());
  comm.gather_rows(view(rows.data(), DType::i32, ranks * 2, 3), view(my_rows.data(), DType::i32, 2, 3));
  for (size_t i = 0; i < rows.size(); ++i) expect(rows[i] == static_cast<int32_t>(i / 6), "gather_rows");
  comm.broadcast_rows(view(my_rows.data(), DType::i32, 2, 3), ranks - 1);
  expect(my_rows == std::vector<int32_t>(6, ranks - 1), "broadcast_rows");

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

}  // namespace lapidary
