#include "kernels/cuda/runtime/image_uploads.h"

#include <gtest/gtest.h>

#include <vector>

namespace lapidary::cuda {
namespace {

TEST(ImageUploads, GiveEachPictureToTheWorkThatIsMeantForIt) {
  constexpr size_t kBytes = 300, kPictures = 7;
  const Stream stream = make_stream(false);
  {
    ImageUploads uploads;
    uploads.reserve(stream, kBytes);
    const size_t held = uploads.bytes();
    EXPECT_EQ(held, 4 * kBytes);
    const Buffer results = allocate(kPictures * kBytes);
    std::vector<uint8_t> picture(kBytes);
    for (size_t i = 0; i < kPictures; ++i) {
      std::fill(picture.begin(), picture.end(), static_cast<uint8_t>(i + 1));  // overwrites the one before
      copy(stream, results.get() + i * kBytes, uploads.upload(stream, picture.data(), kBytes), kBytes);
      uploads.release(stream);
    }
    std::vector<uint8_t> found(kPictures * kBytes);
    copy(stream, found.data(), results.get(), found.size());
    synchronize(stream);
    for (size_t i = 0; i < found.size(); ++i) ASSERT_EQ(found[i], i / kBytes + 1) << i;
    EXPECT_EQ(uploads.bytes(), held);
  }
  destroy(stream);
}

TEST(ImageUploads, GrowForALargerPicture) {
  const Stream stream = make_stream(false);
  {
    ImageUploads uploads;
    std::vector<uint8_t> found(50);
    for (const size_t bytes : {10u, 50u}) {
      const std::vector<uint8_t> picture(bytes, static_cast<uint8_t>(bytes));
      copy(stream, found.data(), uploads.upload(stream, picture.data(), bytes), bytes);
      uploads.release(stream);
      synchronize(stream);
      EXPECT_EQ(found[bytes - 1], bytes);
    }
  }
  destroy(stream);
}

}  // namespace
}  // namespace lapidary::cuda
