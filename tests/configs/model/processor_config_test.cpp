#include "configs/model/processor_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/model/image_steps.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

ModelConfig model() {
  ModelConfig config;
  config.vision.image_size = 448;
  config.vision.patch_size = 14;
  return config;
}

const char* kFields = R"({"do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
  "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "SiglipImageProcessor", "image_seq_length": 1024,
  "image_std": [0.25, 0.25, 0.25], "resample": 3, "rescale_factor": 0.00392156862745098,
  "size": {"height": 448, "width": 448}})";

std::string error_with(const std::string& fields) {
  return error_of([&] { parse_processor_config(fields, "preprocessor_config.json", false, model()); });
}

ProcessorConfig parse(const std::string& fields) {
  return parse_processor_config(fields, "preprocessor_config.json", false, model());
}

TEST(ProcessorConfig, LooksInTheNewFileThenTheOldThenTheModel) {
  TempFolder folder;
  EXPECT_EQ(read_processor_config(folder.path(), model()).image_size, 448);
  EXPECT_EQ(read_processor_config(folder.path(), model()).image_seq_length, 1024);
  EXPECT_EQ(read_processor_config(folder / "model.json", model()).image_size, 448);
  folder.write("preprocessor_config.json", kFields);
  EXPECT_EQ(read_processor_config(folder.path(), model()).std, 0.25);
  folder.write("processor_config.json", R"({"processor_class": "PaliGemmaProcessor"})");
  EXPECT_EQ(read_processor_config(folder.path(), model()).std, 0.25);
  folder.write("processor_config.json", R"({"image_processor": {"image_std": [0.125, 0.125, 0.125]}})");
  EXPECT_EQ(read_processor_config(folder.path(), model()).std, 0.125);
  folder.write("processor_config.json", "nonsense");
  EXPECT_THAT(error_of([&] { read_processor_config(folder.path(), model()); }),
              HasSubstr("/processor_config.json: not valid JSON"));
}

TEST(ProcessorConfig, ReadsItsFields) {
  const ProcessorConfig config = parse(kFields);
  EXPECT_EQ(config.image_size, 448);
  EXPECT_EQ(config.image_seq_length, 1024);
  EXPECT_EQ(config.mean, 0.5);
  EXPECT_EQ(config.std, 0.25);
  EXPECT_EQ(config.rescale, 1.0 / 255);
  EXPECT_EQ(parse("{}").std, 0.5);
  EXPECT_EQ(parse(R"({"do_convert_rgb": null, "resample": null, "size": null})").image_size, 448);
  EXPECT_EQ(parse(R"({"size": 448, "image_mean": 0.25})").mean, 0.25);
  EXPECT_EQ(parse(R"({"do_rescale": false})").rescale, 1);
  EXPECT_EQ(parse(R"({"do_normalize": false})").mean, 0);
  EXPECT_EQ(parse(R"({"do_normalize": false})").std, 1);
}

TEST(ProcessorConfig, ObeysWhatTheFileSaysOfTheProcessor) {
  const auto said = [](const std::string& fields) { return parse(fields).processor; };
  EXPECT_EQ(said("{}"), ImageProcessor::automatic);
  EXPECT_EQ(said(kFields), ImageProcessor::automatic);
  EXPECT_EQ(said(R"({"image_processor_type": "SiglipImageProcessorFast"})"), ImageProcessor::torchvision);
  EXPECT_EQ(said(R"({"image_processor_type": "SiglipImageProcessorPil"})"), ImageProcessor::pillow);
  EXPECT_EQ(said(R"({"use_fast": true})"), ImageProcessor::torchvision);
  EXPECT_EQ(said(R"({"use_fast": false})"), ImageProcessor::pillow);
  EXPECT_THAT(error_with(R"({"image_processor_type": "CLIPImageProcessor"})"),
              HasSubstr("image_processor_type is 'CLIPImageProcessor'; known are SiglipImageProcessor"));
  EXPECT_EQ(parse(kFields).alpha, Alpha::automatic);
  EXPECT_EQ(parse(R"({"do_convert_rgb": null})").alpha, Alpha::automatic);
  EXPECT_EQ(parse(R"({"do_convert_rgb": false})").alpha, Alpha::drop);
}

TEST(ImageSteps, TheUserWinsOverTheFileAndThatOverTheRelease) {
  const TempFolder folder;
  const auto steps = [&](const char* profile, const ImageChoice& choice = {}) {
    return image_steps(folder.path(), model(), profile, choice);
  };
  EXPECT_EQ(steps("hf").side, 448);
  EXPECT_EQ(steps("hf").processor, ImageProcessor::torchvision);
  EXPECT_EQ(steps("hf").alpha, Alpha::white);
  EXPECT_EQ(steps("hf").orientation, Orientation::as_stored);
  EXPECT_EQ(steps("hf-5.4").processor, ImageProcessor::torchvision);
  EXPECT_EQ(steps("hf-5.4").alpha, Alpha::drop);
  EXPECT_EQ(steps("hf-4.53").processor, ImageProcessor::pillow);
  EXPECT_EQ(steps("hf-4.47").alpha, Alpha::drop);
  folder.write("preprocessor_config.json", R"({"use_fast": false, "do_convert_rgb": false})");
  EXPECT_EQ(steps("hf").processor, ImageProcessor::pillow);
  EXPECT_EQ(steps("hf").alpha, Alpha::drop);
  const ImageChoice choice{ImageProcessor::torchvision, Alpha::black, Orientation::exif};
  EXPECT_EQ(steps("hf", choice).processor, ImageProcessor::torchvision);
  EXPECT_EQ(steps("hf", choice).alpha, Alpha::black);
  EXPECT_EQ(steps("hf", choice).orientation, Orientation::exif);
}

TEST(ProcessorConfig, RefusesOtherSteps) {
  EXPECT_THAT(error_with(R"({"resample": 2})"),
              HasSubstr("preprocessor_config.json: resample is 2; only 3 (bicubic) is supported"));
  EXPECT_THAT(error_with(R"({"do_resize": false})"), HasSubstr("do_resize is false"));
  EXPECT_THAT(error_with(R"({"do_center_crop": true})"), HasSubstr("do_center_crop is true"));
  EXPECT_THAT(error_with(R"({"do_pad": true})"), HasSubstr("do_pad is true"));
  EXPECT_THAT(error_with(R"({"size": {"height": 448, "width": 224}})"), HasSubstr("size is 448 by 224"));
  EXPECT_THAT(error_with(R"({"size": {"shortest_edge": 448}})"), HasSubstr("size.height is missing"));
  EXPECT_THAT(error_with(R"({"size": {"height": 224, "width": 224}})"),
              HasSubstr("size is 224, but the model's vision_config.image_size is 448"));
  EXPECT_THAT(error_with(R"({"image_seq_length": 256})"),
              HasSubstr("image_seq_length is 256, but the model makes 1024 tokens of an image"));
  EXPECT_THAT(error_with(R"({"image_mean": [0.5, 0.5]})"),
              HasSubstr("image_mean has 2 numbers instead of 3"));
  EXPECT_THAT(error_with(R"({"image_mean": [0.5, 0.5, 0.4]})"), HasSubstr("image_mean has 0.5 and 0.4"));
  EXPECT_THAT(error_with(R"({"image_std": 0})"), HasSubstr("image_std is 0"));
  EXPECT_THAT(error_with(R"({"image_std": -1})"), HasSubstr("image_std is -1"));
  EXPECT_THAT(error_with(R"({"image_std": 1e999})"), HasSubstr("image_std"));
  EXPECT_THAT(error_with(R"({"rescale_factor": 1e30})"), HasSubstr("rescale_factor is 1e+30"));
  EXPECT_THAT(error_with(R"({"image_mean": "half"})"), HasSubstr("image_mean is \"half\""));
  EXPECT_THAT(error_with("[]"), HasSubstr("preprocessor_config.json: the whole is a list"));
}

}  // namespace
}  // namespace lapidary
