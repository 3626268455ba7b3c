#include "worker/lanes/vision_lane.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <map>
#include <numeric>

#include "configs/error.h"
#include "tests/support/tar_file.h"
#include "tests/support/temp_folder.h"
#include "worker/images/image.h"
#include "worker/images/resize.h"

namespace lapidary {
namespace {

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const std::filesystem::path kImages = std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/images";
constexpr int64_t kSide = 28, kTokens = 3, kHidden = 5, kSlots = 12, kBatch = 4;

/// What the tower of these tests makes of a picture: every pixel counts.
float value_of(std::span<const uint8_t> rgb, int64_t row, int64_t col) {
  uint32_t sum = static_cast<uint32_t>(row * kHidden + col);
  for (const uint8_t byte : rgb) sum = sum * 31 + byte;
  return static_cast<float>(sum % 1'000'003);
}

wire::Encode encode(uint64_t job, int32_t slot, const std::filesystem::path& path) {
  wire::Encode encode;
  encode.set_id(job);
  encode.set_slot(slot);
  encode.mutable_image()->set_path(path.string());
  return encode;
}

/// A lane with its tower, whose answers a test can wait for.
class Rig {
 public:
  explicit Rig(int read_threads = 2)
      : backend_(make_cpu_backend(threads_, "portable")), slots_(*backend_, kSlots, kTokens, kHidden) {
    parts.make_tower = [this] {
      return LaneTower{ImageSteps{.side = kSide, .config = {}}, kBatch, backend_.get(), &slots_,
                       [this](Tensor out, std::span<const uint8_t* const> rgb) { run_tower(out, rgb); }};
    };
    parts.done = [this](wire::Encoded encoded) {
      const std::lock_guard lock(mutex_);
      answers_[encoded.id()] = encoded;
      order_.push_back(encoded.id());
      changed_.notify_all();
    };
    parts.failed = [this](std::exception_ptr failure) { failed.set_value(std::move(failure)); };
    parts.read_threads = read_threads;
  }

  void start() { lane.emplace(parts, recorder); }
  wire::Encoded answer(uint64_t job) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(120), [&] { return answers_.count(job) > 0; }))
      throw std::runtime_error(cat("no answer to job ", job));
    return answers_[job];
  }
  wire::Encoded run(const wire::Encode& encode) {
    lane->add(encode);
    return answer(encode.id());
  }
  std::vector<uint64_t> order() {
    const std::lock_guard lock(mutex_);
    return order_;
  }
  bool holds(int64_t slot, const std::filesystem::path& path) const {
    const Image image = resize_bicubic(read_image(path), kSide, kSide);
    for (int64_t r = 0; r < kTokens; ++r)
      for (int64_t c = 0; c < kHidden; ++c)
        if (slots_.at(slot).row<float>(r)[c] != value_of(image.rgb, r, c)) return false;
    return true;
  }

  VisionLane::Parts parts;
  SpanRecorder recorder{true};
  std::function<void(size_t images)> on_encode = [](size_t) {};
  std::vector<size_t> batches;  // to be read between answers
  std::promise<std::exception_ptr> failed;

 private:
  void run_tower(Tensor out, std::span<const uint8_t* const> rgb) {
    EXPECT_EQ(out.rows(), static_cast<int64_t>(rgb.size()) * kTokens);
    batches.push_back(rgb.size());
    on_encode(rgb.size());
    for (size_t i = 0; i < rgb.size(); ++i)
      for (int64_t r = 0; r < kTokens; ++r)
        for (int64_t c = 0; c < kHidden; ++c)
          out.row<float>(static_cast<int64_t>(i) * kTokens + r)[c] =
              value_of({rgb[i], kSide * kSide * 3}, r, c);
  }

  ThreadPool threads_{1};
  std::unique_ptr<Backend> backend_;
  EncoderCache slots_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, wire::Encoded> answers_;
  std::vector<uint64_t> order_;

 public:
  std::optional<VisionLane> lane;  // ends first
};

TEST(VisionLane, PicturesOfAnySourceAreEncodedIntoTheirSlots) {
  const TempFolder folder;
  TarWriter tar(folder / "shard.tar", "pax");
  tar.add({"0.jpg", bytes_of(kImages / "jpeg_420.jpg")});
  const int64_t second = tar.add({"1.png", bytes_of(kImages / "size_449x447.png")});
  tar.close();
  Rig rig;
  rig.start();

  const wire::Encoded file = rig.run(encode(1, 7, kImages / "size_17x300.png"));
  EXPECT_EQ(file.error(), "");
  EXPECT_EQ(file.width(), 17);
  EXPECT_EQ(file.height(), 300);
  EXPECT_FALSE(file.reused());
  EXPECT_TRUE(rig.holds(7, kImages / "size_17x300.png"));

  wire::Encode entry = encode(2, 0, folder / "shard.tar");
  entry.mutable_image()->set_in_tar(true);
  entry.mutable_image()->set_offset(second);
  const wire::Encoded from_tar = rig.run(entry);
  EXPECT_EQ(from_tar.error(), "");
  EXPECT_EQ(from_tar.width(), 449);
  EXPECT_TRUE(rig.holds(0, kImages / "size_449x447.png"));

  wire::Encode given = encode(3, 11, "upload");
  given.mutable_image()->set_data(bytes_of(kImages / "webp_3x50.webp"));
  EXPECT_EQ(rig.run(given).error(), "");
  EXPECT_TRUE(rig.holds(11, kImages / "webp_3x50.webp"));
  EXPECT_TRUE(rig.holds(7, kImages / "size_17x300.png"));  // as it was
}

TEST(VisionLane, PicturesShareTheMemoryTheyAreDecodedWith) {
  Rig rig(4);
  const auto small = kImages / "size_17x300.png", large = kImages / "size_449x447.png";
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(large));
  rig.parts.memory.decoding = 449 * 447 * 3;  // two large ones go one after the other
  rig.parts.memory.files = bytes;
  rig.start();
  for (uint64_t job = 1; job <= 8; ++job)
    rig.lane->add(encode(job, static_cast<int32_t>(job), job % 2 != 0 ? small : large));
  for (uint64_t job = 1; job <= 8; ++job) EXPECT_EQ(rig.answer(job).error(), "") << job;
  EXPECT_TRUE(rig.holds(1, small));
  EXPECT_TRUE(rig.holds(8, large));

  Rig tight;
  tight.parts.memory.decoding = 449 * 447 * 3 - 1;
  tight.start();
  EXPECT_EQ(tight.run(encode(1, 0, large)).error(),
            cat(large.string(), ": takes ", 449 * 447 * 3, " bytes, more than the ", 449 * 447 * 3 - 1,
                " that this process may hold of pictures being decoded (five eighths of --image-memory-gb)"));
  EXPECT_EQ(tight.run(encode(2, 0, small)).error(), "") << "nothing of the refused one is held";
  EXPECT_EQ(tight.lane->image_bytes(), 0);

  Rig narrow;
  narrow.parts.memory.files = bytes - 1;
  narrow.start();
  EXPECT_EQ(narrow.run(encode(1, 0, large)).error(),
            cat(large.string(), ": takes ", bytes, " bytes, more than the ", bytes - 1,
                " that this process may hold of picture files (an eighth of --image-memory-gb)"));
  wire::Encode given = encode(2, 0, "upload");
  given.mutable_image()->set_data(bytes_of(large));
  EXPECT_EQ(narrow.run(given).error(), "") << "who sent it has counted its bytes";
}

TEST(VisionLane, WhatIsWrongWithAPictureIsItsAnswerAlone) {
  const TempFolder folder;
  const auto text = folder.write("notes.jpg", "not a picture");
  const auto half = folder / "half.png";
  std::filesystem::copy_file(kImages / "rgb8.png", half);
  std::filesystem::resize_file(half, std::filesystem::file_size(half) / 2);
  Rig rig;
  rig.start();
  rig.lane->add(encode(1, 0, folder / "gone.jpg"));
  rig.lane->add(encode(2, 1, text));
  rig.lane->add(encode(3, 2, half));
  rig.lane->add(encode(4, kSlots, kImages / "rgb8.png"));
  rig.lane->add(encode(5, -1, kImages / "rgb8.png"));
  rig.lane->add(encode(6, 3, kImages / "rgb8.png"));
  EXPECT_EQ(rig.answer(1).error(), (folder / "gone.jpg").string() + ": no such file");
  EXPECT_THAT(rig.answer(2).error(), StartsWith(text.string() + ": not a JPEG, PNG or WebP image"));
  EXPECT_THAT(rig.answer(3).error(), StartsWith(half.string() + ": "));
  EXPECT_THAT(rig.answer(4).error(), HasSubstr("encoder cache slot 12 of 12"));
  EXPECT_THAT(rig.answer(5).error(), HasSubstr("encoder cache slot -1 of 12"));
  EXPECT_EQ(rig.answer(6).error(), "");
  EXPECT_TRUE(rig.holds(3, kImages / "rgb8.png"));
}

TEST(VisionLane, SaysWhichPicturesWereNotTurned) {
  for (const Orientation orientation : {Orientation::as_stored, Orientation::exif}) {
    Rig rig;
    const auto make_tower = rig.parts.make_tower;
    rig.parts.make_tower = [&] {
      LaneTower tower = make_tower();
      tower.steps.orientation = orientation;
      return tower;
    };
    rig.start();
    const bool turned = orientation == Orientation::exif;
    const wire::Encoded asks = rig.run(encode(1, 0, kImages / "jpeg_exif_turned.jpg"));
    EXPECT_EQ(asks.width(), turned ? 60 : 90);
    EXPECT_EQ(asks.orientation_left(), !turned);
    EXPECT_FALSE(rig.run(encode(2, 1, kImages / "jpeg_420.jpg")).orientation_left());
  }
}

TEST(VisionLane, APictureWithNoMemoryForItIsItsError) {
  Rig rig;
  rig.parts.read_bytes = [](const wire::ImageSource& source,
                            const ReadLimits& limits) -> std::vector<uint8_t> {
    if (source.path() == "vast.jpg") throw std::bad_alloc();
    return read_source(source, limits);
  };
  rig.start();
  EXPECT_EQ(rig.run(encode(1, 0, "vast.jpg")).error(), "vast.jpg: not enough memory to read this image");
  EXPECT_EQ(rig.run(encode(2, 0, kImages / "rgb8.png")).error(), "");
}

TEST(VisionLane, APictureThatIsSlowToReadHoldsUpNoOther) {
  Rig rig(2);
  std::promise<void> arrived;
  rig.parts.read_bytes = [file = arrived.get_future().share()](const wire::ImageSource& source,
                                                               const ReadLimits& limits) {
    if (source.path() == (kImages / "rgb8.png").string()) file.wait();
    return read_source(source, limits);
  };
  rig.start();
  rig.lane->add(encode(1, 0, kImages / "rgb8.png"));
  for (uint64_t job = 2; job <= 9; ++job)
    rig.lane->add(encode(job, static_cast<int32_t>(job), kImages / "rgba8.png"));
  for (uint64_t job = 2; job <= 9; ++job) EXPECT_EQ(rig.answer(job).error(), "");
  EXPECT_EQ(rig.order().size(), 8u);
  arrived.set_value();
  EXPECT_EQ(rig.answer(1).error(), "");
  EXPECT_TRUE(rig.holds(0, kImages / "rgb8.png"));
}

/// Holds the tower in its first batch until all but the last of `jobs` are read, so that the batches that
/// follow are known.
void run_with_all_ready(Rig& rig, const std::vector<wire::Encode>& jobs) {
  std::promise<void> last_begun, go_on;
  auto all_read = last_begun.get_future().share();
  auto gone_on = go_on.get_future().share();
  // One thread reads them one after the other: when it comes to the last, all others have been read.
  rig.parts.read_bytes = [&, last = jobs.back().image().path()](const wire::ImageSource& source,
                                                                const ReadLimits& limits) {
    if (source.path() == last) {
      last_begun.set_value();
      gone_on.wait();
    }
    return read_source(source, limits);
  };
  rig.on_encode = [all_read](size_t) { all_read.wait(); };
  rig.start();
  for (const wire::Encode& job : jobs) rig.lane->add(job);
  for (size_t i = 0; i + 1 < jobs.size(); ++i) rig.answer(jobs[i].id());
  go_on.set_value();
  rig.answer(jobs.back().id());
}

TEST(VisionLane, WhatIsReadIsEncodedTogetherInOrderUpToTheTowersBatch) {
  Rig rig(1);
  const char* names[] = {"rgb8.png",  "rgba8.png", "grey8.png",    "grey16.png",    "palette1.png",
                         "noise.png", "rgb16.png", "jpeg_420.jpg", "jpeg_grey.jpg", "grey2.png"};
  std::vector<wire::Encode> jobs;
  for (size_t i = 0; i < std::size(names); ++i)
    jobs.push_back(encode(i, static_cast<int32_t>(i), kImages / names[i]));
  run_with_all_ready(rig, jobs);
  // The first alone, or with those read before the lane looked; then full batches; the last came late.
  EXPECT_EQ(std::accumulate(rig.batches.begin(), rig.batches.end(), size_t{0}), std::size(names));
  EXPECT_EQ(rig.batches.at(1), static_cast<size_t>(kBatch));
  EXPECT_EQ(rig.batches.back(), 1u);
  EXPECT_EQ(rig.batches.size(), 4u);
  EXPECT_THAT(rig.order(), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  for (size_t i = 0; i < std::size(names); ++i)
    EXPECT_TRUE(rig.holds(static_cast<int64_t>(i), kImages / names[i]));

  wire::Heartbeat beat;
  rig.recorder.take(beat);
  uint64_t images = 0;
  for (const wire::Span& span : beat.spans())
    if (span.kind() == wire::Span::ENCODE) images += span.number();
  EXPECT_EQ(images, std::size(names));
}

TEST(VisionLane, TheSameBytesAreEncodedOnceWhileASlotHoldsThem) {
  const TempFolder folder;
  const auto cat_picture = kImages / "rgb8.png", dog = kImages / "noise.png", twin = folder / "twin.png";
  std::filesystem::copy_file(cat_picture, twin);
  Rig rig;
  rig.start();
  const wire::Encoded first = rig.run(encode(1, 0, cat_picture));
  EXPECT_FALSE(first.reused());
  const wire::Encoded second = rig.run(encode(2, 1, twin));
  EXPECT_TRUE(second.reused());
  EXPECT_EQ(second.width(), first.width());
  EXPECT_TRUE(rig.holds(1, cat_picture));
  const wire::Encoded other = rig.run(encode(3, 0, dog));
  EXPECT_FALSE(other.reused());
  EXPECT_TRUE(rig.run(encode(4, 2, cat_picture)).reused());  // from slot 1
  EXPECT_TRUE(rig.holds(2, cat_picture));
  EXPECT_TRUE(rig.run(encode(5, 2, cat_picture)).reused());  // it is there already
  EXPECT_TRUE(rig.run(encode(6, 1, dog)).reused());
  EXPECT_TRUE(rig.run(encode(7, 2, dog)).reused());
  EXPECT_FALSE(rig.run(encode(8, 3, cat_picture)).reused());  // no slot holds it any more
  EXPECT_TRUE(rig.holds(3, cat_picture));
  // A picture that cannot be read leaves its slot as it was.
  EXPECT_NE(rig.run(encode(9, 3, folder / "gone.png")).error(), "");
  EXPECT_TRUE(rig.run(encode(10, 4, cat_picture)).reused());
  EXPECT_TRUE(rig.holds(4, cat_picture));
  EXPECT_THAT(rig.batches, ElementsAre(1, 1, 1));
}

TEST(VisionLane, TwinsOfOneBatchAreEncodedOnce) {
  Rig rig(1);
  const auto picture = kImages / "rgb8.png";
  run_with_all_ready(rig, {encode(1, 0, kImages / "noise.png"), encode(2, 1, picture), encode(3, 2, picture),
                           encode(4, 3, picture), encode(5, 4, kImages / "grey8.png")});
  int reused = 0;
  for (const uint64_t job : {2, 3, 4}) reused += rig.answer(job).reused() ? 1 : 0;
  EXPECT_EQ(reused, 2);
  for (const int64_t slot : {1, 2, 3}) EXPECT_TRUE(rig.holds(slot, picture)) << slot;
  EXPECT_EQ(std::accumulate(rig.batches.begin(), rig.batches.end(), size_t{0}), 3u);
}

TEST(VisionLane, ATowerThatBreaksIsTold) {
  Rig rig;
  rig.on_encode = [](size_t) { throw std::runtime_error("the device is gone"); };
  rig.start();
  rig.lane->add(encode(1, 0, kImages / "rgb8.png"));
  try {
    std::rethrow_exception(rig.failed.get_future().get());
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "the device is gone");
  }
  rig.lane->add(encode(2, 1, kImages / "noise.png"));  // nobody answers, nothing breaks
}

TEST(VisionLane, ATowerThatCannotBeMadeEndsTheLaneAtOnce) {
  Rig rig;
  rig.parts.make_tower = []() -> LaneTower { fail("no weights"); };
  EXPECT_THROW(rig.start(), Error);
}

TEST(VisionLane, EndsWhileJobsWait) {
  Rig rig(2);
  std::promise<void> encoding, ending;
  rig.on_encode = [&, once = std::make_shared<std::once_flag>(),
                   go_on = ending.get_future().share()](size_t) {
    std::call_once(*once, [&] { encoding.set_value(); });
    go_on.wait();
  };
  rig.start();
  for (uint64_t job = 0; job < 60; ++job)
    rig.lane->add(encode(job, static_cast<int32_t>(job % kSlots), kImages / "jpeg_photo_size.jpg"));
  encoding.get_future().wait();
  ending.set_value();
  rig.lane.reset();
  EXPECT_LT(rig.order().size(), 60u + 1);
}

TEST(VisionLane, ItsThreadsYieldToTheDecoderLanes) {
  const auto nice = [] { return getpriority(PRIO_PROCESS, static_cast<id_t>(gettid())); };
  const int mine = nice();
  Rig rig;
  std::atomic<int> of_reader = -100, of_lane = -100, of_its_threads = -100;
  rig.parts.read_bytes = [&](const wire::ImageSource& source, const ReadLimits& limits) {
    of_reader = nice();
    return read_source(source, limits);
  };
  rig.on_encode = [&](size_t) {
    of_lane = nice();
    std::thread([&] { of_its_threads = nice(); }).join();
  };
  rig.start();
  rig.run(encode(1, 0, kImages / "rgb8.png"));
  for (const int lower : {of_reader.load(), of_lane.load(), of_its_threads.load()})
    EXPECT_EQ(lower, std::max(mine, 10));
  EXPECT_EQ(nice(), mine);
}

}  // namespace
}  // namespace lapidary
