#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace lapidary {

/// Bytes of one kind that a process may hold at once, shared by its threads: who wants more than is free
/// waits, in the order of asking, so that large pieces are held one after the other and small ones beside
/// each other.
class ByteBudget {
 public:
  /// What somebody holds, until it ends; it may outlive the budget. Any thread.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept;
    Share& operator=(Share&& other) noexcept;
    ~Share();
    int64_t bytes() const { return bytes_; }

   private:
    friend class ByteBudget;
    struct State;
    Share(std::shared_ptr<State> state, int64_t bytes);
    std::shared_ptr<State> state_;
    int64_t bytes_ = 0;
  };

  /// `bytes`: of all shares together, not negative. `kind` ends the sentence of a refusal: "of pictures that
  /// are decoded (--image-memory-gb)".
  ByteBudget(int64_t bytes, std::string kind);
  ~ByteBudget();
  ByteBudget(const ByteBudget&) = delete;
  ByteBudget& operator=(const ByteBudget&) = delete;

  /// Waits until `bytes` are free and holds them. Throws Error, a sentence that goes on from a picture's
  /// name, when there are not so many in all. Who holds a share already may wait for itself for ever.
  Share take(int64_t bytes);
  /// Nobody waits any more, nor from now on: shares are given whatever is free.
  void stop_waiting();

  int64_t all() const;
  int64_t held() const;
  int64_t most_held() const;  // at any time so far

 private:
  std::shared_ptr<Share::State> state_;
};

}  // namespace lapidary
