#include "tests/cuda_emulation/products.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "tests/cuda_emulation/block.h"

namespace lapidary::emulation {
namespace {

// Not 0, so that a kernel which takes it for 0 fails; a multiple of what patterns of addresses repeat after.
constexpr uint32_t kFirstAddress = 1024;

uint32_t bits(uint64_t descriptor, int first, int count) {
  return static_cast<uint32_t>(descriptor >> first) & ((1u << count) - 1);
}

}  // namespace

SharedOperand::SharedOperand(uint64_t descriptor, bool k_major)
    : start_(bits(descriptor, 0, 14) << 4),
      leading_(bits(descriptor, 16, 14) << 4),
      stride_(bits(descriptor, 32, 14) << 4),
      words_(uint32_t{16} >> (bits(descriptor, 62, 2) == 0 ? 4 : bits(descriptor, 62, 2))),
      k_major_(k_major) {
  if (bits(descriptor, 49, 3) != 0) throw std::logic_error("a pattern that does not begin at its multiple");
}

uint32_t SharedOperand::address(uint32_t outer, uint32_t inner) const {
  // Core matrices are eight words of 16 bytes. Distances: K-major, the stride leads to the next eight rows,
  // the leading one to the next word, if words are not swizzled (else they are neighbours). MN-major, the
  // leading one leads to the next words of the outer dimension, the stride to the next eight of the inner
  // one; without a swizzle it is the other way round.
  const uint32_t row = k_major_ ? outer : inner, element = k_major_ ? inner : outer, word = element / 8;
  uint32_t at = start_ + row % 8 * words_ * 16 + element % 8 * 2;
  if (k_major_)
    at += row / 8 * stride_ + (words_ == 1 ? word * leading_ : word * 16);
  else if (words_ == 1)
    at += word * stride_ + row / 8 * leading_;
  else
    at += word % words_ * 16 + word / words_ * leading_ + row / 8 * stride_;
  // Of 128 bytes, bits 4… are mixed with as many from bit 7 on.
  return at ^ ((at >> 7 & (words_ - 1)) << 4);
}

void Products::log(int thread, const std::string& operation) {
  if (thread % 32 != 0) return;
  auto& mine = threads_[static_cast<size_t>(thread)].log;
  const auto first = static_cast<size_t>(thread) / 128 * 128;
  for (size_t other = first; other < std::min(first + 128, threads_.size()); other += 32) {
    const auto& theirs = threads_[other].log;
    if (theirs.size() > mine.size() && theirs[mine.size()] != operation)
      throw std::logic_error("a warpgroup's warps do different things: " + operation + ", " +
                             theirs[mine.size()]);
  }
  mine.push_back(operation);
}

void Products::begin(int thread, const std::string& operation, Product product) {
  log(thread, operation);
  Thread& here = threads_[static_cast<size_t>(thread)];
  if (!here.fenced) throw std::logic_error("a product without a fence before its group");
  if (writers_ > 0) throw std::logic_error("a product may not see what a thread wrote to shared memory");
  Held& held = here.held[product.d];
  if (held.under_way++ == 0) {
    held.sums.assign(product.d, product.d + product.sums.size());
    std::fill_n(product.d, product.sums.size(), std::numeric_limits<float>::quiet_NaN());
  }
  product.words = hash_of_words(product.read);
  here.open.push_back(std::move(product));
}

void Products::fence(int thread) {
  log(thread, "fence");
  threads_[static_cast<size_t>(thread)].fenced = true;
}

void Products::commit(int thread) {
  log(thread, "commit");
  Thread& here = threads_[static_cast<size_t>(thread)];
  here.groups.push_back(std::move(here.open));
  here.open.clear();
  here.fenced = false;
}

void Products::finish(Thread& thread, const Product& product) {
  if (hash_of_words(product.read) != product.words)
    throw std::logic_error("shared memory changed while a product read it");
  Held& held = thread.held[product.d];
  for (size_t i = 0; i < product.sums.size(); ++i)
    held.sums[i] = product.add ? held.sums[i] + product.sums[i] : product.sums[i];
  if (--held.under_way > 0) return;
  std::copy(held.sums.begin(), held.sums.end(), product.d);
  thread.held.erase(product.d);
}

void Products::wait(int thread, size_t left) {
  log(thread, "wait " + std::to_string(left));
  Thread& here = threads_[static_cast<size_t>(thread)];
  for (; here.groups.size() > left; here.groups.pop_front())
    for (const Product& product : here.groups.front()) finish(here, product);
}

void Products::settle(int thread, const float* d) const {
  if (threads_[static_cast<size_t>(thread)].held.contains(d))
    throw std::logic_error("sums are wanted whose products were not waited for");
}

void Products::wrote_shared(int thread) {
  if (!std::exchange(threads_[static_cast<size_t>(thread)].wrote, true)) ++writers_;
}

void Products::fence_shared(int thread) {
  if (std::exchange(threads_[static_cast<size_t>(thread)].wrote, false)) --writers_;
}

void Products::end() const {
  for (size_t t = 0; t < threads_.size(); ++t) {
    if (!threads_[t].held.empty()) throw std::logic_error("a thread ended before its products");
    if (t % 32 == 0 && threads_[t].log.size() != threads_[t / 128 * 128].log.size())
      throw std::logic_error("a product without all warps of its warpgroup");
  }
}

uint32_t shared_address(const void* shared) {
  return kFirstAddress +
         static_cast<uint32_t>(static_cast<const std::byte*>(shared) - Block::current().shared());
}

namespace {

const std::byte* at_shared(uint32_t address, size_t bytes) {
  const Block& block = Block::current();
  if (address < kFirstAddress || address - kFirstAddress + bytes > block.shared_bytes())
    throw std::logic_error("a product reads outside the shared memory");
  return block.shared() + (address - kFirstAddress);
}

}  // namespace

uint16_t read_shared(uint32_t address) {
  uint16_t value = 0;
  std::memcpy(&value, at_shared(address, sizeof value), sizeof value);
  return value;
}

uint64_t hash_of_words(const std::vector<uint32_t>& addresses) {
  uint64_t hash = 1469598103934665603u;
  for (const uint32_t address : addresses) {
    uint64_t words[2];
    std::memcpy(words, at_shared(address & ~15u, sizeof words), sizeof words);
    for (const uint64_t word : words) hash = (hash ^ word ^ word >> 29) * 1099511628211u;
  }
  return hash;
}

}  // namespace lapidary::emulation
