#include <gtest/gtest.h>

#include <array>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>

#include "configs/model/model_config.h"
#include "tests/cuda_emulation/emulated_backend.h"
#include "tests/cuda_emulation/host_gemm.h"
#include "worker/engine/encoder_cache.h"
#include "worker/engine/vision_tower.h"
#include "worker/images/image.h"
#include "worker/images/resize.h"
#include "worker/lanes/vision_lane.h"

namespace lapidary {
namespace {

// Two lanes on one device, which does what it is told later: each waits on the device for the other.

class EmulatedSlots : public testing::Test {
 protected:
  static constexpr int64_t kTokens = 3, kHidden = 5;

  /// Rows on the device, all of one value.
  Tensor rows_of(Backend& backend, float value) {
    std::vector<float> values(kTokens * kHidden, value);
    buffers.push_back(backend.allocate(values.size() * sizeof(float)));
    const Tensor rows = view(buffers.back().get(), DType::f32, kTokens, kHidden);
    backend.copy(rows, view(values.data(), DType::f32, kTokens, kHidden));
    return rows;
  }
  std::vector<float> fetched(Backend& backend, Tensor rows) {
    std::vector<float> values(kTokens * kHidden);
    backend.copy(view(values.data(), DType::f32, kTokens, kHidden), rows);
    return values;
  }

  ThreadPool threads{1};
  std::unique_ptr<Backend> vision = make_emulated_cuda_backend(threads),
                           decoder = make_emulated_cuda_backend(threads);
  EncoderCache slots{*vision, 2, kTokens, kHidden};
  std::vector<Buffer> buffers;
};

TEST_F(EmulatedSlots, AReaderSeesWhatWasStoredThoughNobodyWaitedForIt) {
  const Tensor seven = rows_of(*vision, 7), to = rows_of(*decoder, 0);
  slots.store(1, seven);
  decoder->copy(to, slots.begin_read(1, *decoder));
  slots.end_read(1, *decoder);
  EXPECT_EQ(fetched(*decoder, to), std::vector<float>(kTokens * kHidden, 7));
}

TEST_F(EmulatedSlots, WhatIsStoredNextWaitsForTheReader) {
  const Tensor seven = rows_of(*vision, 7), eight = rows_of(*vision, 8), to = rows_of(*decoder, 0);
  slots.store(1, seven);
  decoder->copy(to, slots.begin_read(1, *decoder));
  slots.end_read(1, *decoder);
  slots.store(1, eight);
  vision->synchronize();
  EXPECT_EQ(fetched(*decoder, to), std::vector<float>(kTokens * kHidden, 7));
  EXPECT_EQ(fetched(*vision, slots.at(1)), std::vector<float>(kTokens * kHidden, 8));
}

TEST_F(EmulatedSlots, MarksPassInOrder) {
  const Tensor one = rows_of(*vision, 1), to = rows_of(*vision, 0);
  vision->copy(to, one);
  const DeviceEvent mark = vision->record_event();
  vision->scale(to, 2);
  vision->synchronize_event(mark);
  EXPECT_EQ(fetched(*vision, to), std::vector<float>(kTokens * kHidden, 2));
}

TEST(EmulatedLane, AnswersWhenTheEmbeddingsAreInTheirSlots) {
  constexpr int64_t kSide = 28, kPatch = 14, kRows = 4, kCols = 3 * kPatch * kPatch;
  ThreadPool threads(1);
  const auto backend = make_emulated_cuda_backend(threads);
  EncoderCache slots(*backend, 6, kRows, kCols);
  std::array<float, 256> value_of{};
  for (size_t i = 0; i < value_of.size(); ++i) value_of[i] = static_cast<float>(i);
  std::mutex mutex;
  std::condition_variable changed;
  std::map<uint64_t, wire::Encoded> answers;
  SpanRecorder recorder(true);
  VisionLane::Parts parts;
  parts.make_tower = [&] {
    return LaneTower{ImageSteps{.side = kSide, .config = {}}, 2, backend.get(), &slots,
                     [&](Tensor out, std::span<const uint8_t* const> rgb) {
                       for (size_t i = 0; i < rgb.size(); ++i) {
                         const auto first = static_cast<int64_t>(i) * kRows;
                         backend->patchify(out.row_range(first, first + kRows), rgb[i], kSide, kPatch,
                                           value_of.data());
                       }
                     }};
  };
  parts.done = [&](wire::Encoded encoded) {
    const std::lock_guard lock(mutex);
    answers[encoded.id()] = encoded;
    changed.notify_all();
  };
  parts.failed = [](std::exception_ptr failure) { std::rethrow_exception(failure); };
  const std::filesystem::path images = std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/images";
  const std::vector<std::string> names{"size_17x300.png", "size_449x447.png", "jpeg_420.jpg",
                                       "webp_3x50.webp", "size_17x300.png"};
  VisionLane lane(std::move(parts), recorder);
  for (size_t i = 0; i < names.size(); ++i) {
    wire::Encode encode;
    encode.set_id(i);
    encode.set_slot(static_cast<int32_t>(i));
    encode.mutable_image()->set_path((images / names[i]).string());
    lane.add(encode);
  }
  std::unique_lock lock(mutex);
  ASSERT_TRUE(
      changed.wait_for(lock, std::chrono::seconds(120), [&] { return answers.size() == names.size(); }));
  lock.unlock();
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(answers[i].error(), "");
    const Image image = resize_bicubic(read_image(images / names[i]), kSide, kSide);
    std::vector<float> rows(kRows * kCols);
    const auto reader = make_emulated_cuda_backend(threads);
    reader->copy(view(rows.data(), DType::f32, kRows, kCols),
                 slots.begin_read(static_cast<int64_t>(i), *reader));
    // Patch 3 begins in the middle of the picture; its first column is red.
    EXPECT_EQ(rows[3 * kCols], image.rgb[(kPatch * kSide + kPatch) * 3]) << names[i];
    EXPECT_EQ(rows[0], image.rgb[0]) << names[i];
  }
}

TEST(EmulatedLane, ProductsBesideADecoderLeaveItAPartOfTheDevice) {
  EngineOptions options;
  options.model = std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/models/like3b";
  options.device = "cuda";
  options.dtype = DTypeOption::bfloat16;
  options.encoder_cache_slots = 20;  // pictures at once, so that their products are the library's
  const ModelConfig config = read_model_config(options.model);
  const int64_t side = config.vision.image_size;
  const std::vector<uint8_t> picture(static_cast<size_t>(side * side * 3), 77);
  std::vector<std::vector<float>> results;
  struct Case {
    bool beside;
    int share;
    int filled;  // of the four multiprocessors that the emulation has; 0: all
  };
  for (const Case c : {Case{false, 67, 0}, Case{true, 67, 2}, Case{true, 1, 1}, Case{true, 100, 0}}) {
    options.vision_gpu_share = c.share;
    VisionTower tower(options, config, c.beside);
    Backend& ops = tower.backend();
    const int64_t count = tower.images() * tower.tokens();
    const Buffer out = ops.allocate(static_cast<size_t>(count * tower.hidden()) * sizeof(float));
    const Tensor rows = view(out.get(), DType::f32, count, tower.hidden());
    cuda::HostGemm::filled();
    tower.encode(rows, std::vector<const uint8_t*>(static_cast<size_t>(tower.images()), picture.data()));
    std::vector<float>& values = results.emplace_back(static_cast<size_t>(count * tower.hidden()));
    ops.copy(view(values.data(), DType::f32, count, tower.hidden()), rows);
    EXPECT_EQ(cuda::HostGemm::filled(), std::set<int>{c.filled}) << c.share;
    EXPECT_EQ(values, results[0]);
  }
}

}  // namespace
}  // namespace lapidary
