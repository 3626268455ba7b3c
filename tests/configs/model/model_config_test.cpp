#include "configs/model/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/json.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// As transformers 4.47 writes it: what equals a class's default is left out, and junk stays in.
const char* kFour = R"({
  "architectures": ["PaliGemmaForConditionalGeneration"], "model_type": "paligemma", "torch_dtype": "bfloat16",
  "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "hidden_size": 2048, "ignore_index": -100,
  "image_token_index": 257152, "num_hidden_layers": 42, "projection_dim": 3584, "vocab_size": 257152,
  "text_config": {"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "cache_implementation": "hybrid",
    "eos_token_id": [1, 107], "hidden_act": "gelu_pytorch_tanh", "hidden_size": 3584, "intermediate_size": 14336,
    "num_attention_heads": 16, "num_hidden_layers": 42, "num_image_tokens": 256, "num_key_value_heads": 8,
    "torch_dtype": "bfloat16", "vocab_size": 257216},
  "vision_config": {"hidden_size": 1152, "intermediate_size": 4304, "model_type": "siglip_vision_model",
    "num_attention_heads": 16, "num_hidden_layers": 27, "num_image_tokens": 256, "num_positions": 1024,
    "patch_size": 14, "projection_dim": 3584, "projector_hidden_act": "gelu_fast", "vision_use_head": false}})";

/// As transformers 5 writes it, of a small model.
const char* kFive = R"({
  "architectures": ["PaliGemmaForConditionalGeneration"], "dtype": "float32", "hidden_size": 2048,
  "image_token_index": 60, "model_type": "paligemma", "projection_dim": 48,
  "text_config": {"attention_bias": false, "attention_dropout": 0.0, "attn_logit_softcapping": 40.0,
    "bos_token_id": 2, "eos_token_id": [1, 5], "final_logit_softcapping": null, "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 48, "initializer_range": 0.02, "intermediate_size": 64,
    "layer_types": ["full_attention", "sliding_attention", "full_attention"], "max_position_embeddings": 512,
    "model_type": "gemma2", "num_attention_heads": 4, "num_hidden_layers": 3, "num_image_tokens": 4,
    "num_key_value_heads": 2, "pad_token_id": 0, "query_pre_attn_scalar": 20, "rms_norm_eps": 1e-05,
    "rope_parameters": {"rope_theta": 5000.0, "rope_type": "default"}, "sliding_window": 8,
    "tie_word_embeddings": true, "use_bidirectional_attention": true, "use_cache": true, "vocab_size": 64},
  "tie_word_embeddings": true, "transformers_version": "5.23.0",
  "vision_config": {"attention_dropout": 0.0, "hidden_act": "gelu_pytorch_tanh", "hidden_size": 32, "image_size": 30,
    "intermediate_size": 48, "layer_norm_eps": 1e-05, "model_type": "siglip_vision_model", "num_attention_heads": 2,
    "num_channels": 3, "num_hidden_layers": 2, "patch_size": 14, "projection_dim": 48, "vision_use_head": false},
  "vocab_size": 257152})";

ModelConfig parse(const std::string& text) { return parse_model_config(text, "config.json"); }

/// `base` with one field, "text_config.head_dim" for an inner one, set to a JSON value; "" takes it out.
std::string with(const char* base, const std::string& field, const std::string& value) {
  json::value root = json::parse(base);
  json::object* object = &root.get_object();
  std::string last = field;
  for (size_t dot; (dot = last.find('.')) != std::string::npos; last = last.substr(dot + 1)) {
    object = &object->at(last.substr(0, dot)).get_object();
  }
  if (value.empty()) {
    object->erase(last);
  } else {
    (*object)[last] = json::parse(value);
  }
  return json::serialize(root);
}

std::string error_with(const std::string& field, const std::string& value) {
  return error_of([&] { parse(with(kFive, field, value)); });
}

TEST(ModelConfig, ReadsOlderFilesWithTheClassDefaults) {
  const ModelConfig config = parse(kFour);
  const TextConfig& t = config.text;
  EXPECT_EQ(t.hidden_size, 3584);
  EXPECT_EQ(t.intermediate_size, 14336);
  EXPECT_EQ(t.layers, 42);
  EXPECT_EQ(t.heads, 16);
  EXPECT_EQ(t.kv_heads, 8);
  EXPECT_EQ(t.head_dim, 256);  // absent: 256, not 3584 / 16
  EXPECT_EQ(t.query_pre_attn_scalar, 256);
  EXPECT_EQ(t.rope_theta, 10000);
  EXPECT_EQ(t.rms_norm_eps, 1e-6);
  EXPECT_EQ(t.sliding_window, 4096);
  EXPECT_EQ(t.attn_softcap, 50);
  EXPECT_EQ(t.final_softcap, 30);
  EXPECT_EQ(t.max_position_embeddings, 8192);
  EXPECT_EQ(t.vocab_size, 257216);
  EXPECT_TRUE(t.tie_word_embeddings);
  ASSERT_EQ(t.sliding_layers.size(), 42u);
  for (size_t i = 0; i < 42; ++i) EXPECT_EQ(t.sliding_layers[i], i % 2 == 0);
  EXPECT_EQ(config.vision.image_size, 224);
  EXPECT_EQ(config.vision.tokens(), 256);
  EXPECT_EQ(config.vision.intermediate_size, 4304);
  EXPECT_EQ(config.vision.head_dim(), 72);
  EXPECT_EQ(config.vision.layer_norm_eps, 1e-6);
  EXPECT_EQ(config.projection_dim, 3584);
  EXPECT_EQ(config.image_token_id, 257152);
  EXPECT_EQ(config.bos, 2);
  EXPECT_THAT(config.eos, ElementsAre(1));  // the outer one wins over [1, 107]
  EXPECT_EQ(config.pad, 0);
  EXPECT_EQ(config.torch_dtype, "bfloat16");
}

TEST(ModelConfig, ReadsNewerFiles) {
  const ModelConfig config = parse(kFive);
  const TextConfig& t = config.text;
  EXPECT_EQ(t.head_dim, 16);
  EXPECT_EQ(t.query_pre_attn_scalar, 20);
  EXPECT_EQ(t.rope_theta, 5000);
  EXPECT_EQ(t.rms_norm_eps, 1e-5);
  EXPECT_EQ(t.sliding_window, 8);
  EXPECT_THAT(t.sliding_layers, ElementsAre(false, true, false));
  EXPECT_EQ(t.attn_softcap, 40);
  EXPECT_EQ(t.final_softcap, std::nullopt);
  EXPECT_EQ(t.max_position_embeddings, 512);
  EXPECT_EQ(config.vision.tokens(), 4);  // 30 pixels hold two whole patches
  EXPECT_EQ(config.vision.layer_norm_eps, 1e-5);
  EXPECT_THAT(config.eos, ElementsAre(1, 5));
  EXPECT_EQ(config.bos, 2);
  EXPECT_EQ(config.torch_dtype, "float32");
}

TEST(ModelConfig, ReadsEveryFieldOfItsOwn) {
  const auto text = [](const char* field, const char* value) {
    return parse(with(kFive, field, value)).text;
  };
  EXPECT_EQ(text("text_config.vocab_size", "77").vocab_size, 77);
  EXPECT_EQ(text("text_config.intermediate_size", "77").intermediate_size, 77);
  EXPECT_EQ(text("text_config.num_attention_heads", "8").heads, 8);
  EXPECT_EQ(text("text_config.num_key_value_heads", "1").kv_heads, 1);
  EXPECT_EQ(text("text_config.query_pre_attn_scalar", "14.5").query_pre_attn_scalar, 14.5);
  EXPECT_EQ(text("text_config.final_logit_softcapping", "7").final_softcap, 7);
  EXPECT_EQ(text("text_config.attn_logit_softcapping", "null").attn_softcap, std::nullopt);
  EXPECT_EQ(text("text_config.attn_logit_softcapping", "").attn_softcap, 50);
  EXPECT_EQ(text("text_config.final_logit_softcapping", "").final_softcap, 30);
  EXPECT_EQ(text("text_config.sliding_window", "null").sliding_window, std::nullopt);
  EXPECT_EQ(text("text_config.sliding_window", "").sliding_window, 4096);
  EXPECT_FALSE(text("text_config.tie_word_embeddings", "false").tie_word_embeddings);
  EXPECT_FALSE(text("tie_word_embeddings", "false").tie_word_embeddings);
  EXPECT_THAT(text("text_config.layer_types", "null").sliding_layers, ElementsAre(true, false, true));
  EXPECT_EQ(text("text_config.rope_parameters", "").rope_theta, 10000);
  EXPECT_EQ(text("text_config.rope_parameters", "null").rope_theta, 10000);
  EXPECT_EQ(text("text_config.rope_parameters.rope_theta", "").rope_theta, 10000);
  EXPECT_EQ(text("text_config.rope_theta", "300").rope_theta, 5000);  // the newer place wins
  EXPECT_EQ(parse(with(kFour, "text_config.rope_theta", "300")).text.rope_theta, 300);
}

TEST(ModelConfig, ReadsOuterFields) {
  const auto read = [](const char* field, const char* value) { return parse(with(kFive, field, value)); };
  EXPECT_EQ(parse(with(with(kFive, "image_token_index", "").c_str(), "image_token_id", "9")).image_token_id,
            9);
  EXPECT_EQ(read("image_token_index", "").image_token_id, 256000);
  EXPECT_THAT(read("eos_token_id", "3").eos, ElementsAre(3));
  EXPECT_THAT(read("eos_token_id", "[3, 4]").eos, ElementsAre(3, 4));
  EXPECT_THAT(read("eos_token_id", "null").eos, ElementsAre(1, 5));
  EXPECT_THAT(read("text_config.eos_token_id", "").eos, ElementsAre(1));
  EXPECT_THAT(read("text_config.eos_token_id", "null").eos, ElementsAre());
  EXPECT_EQ(read("bos_token_id", "7").bos, 7);
  EXPECT_EQ(read("text_config.bos_token_id", "null").bos, std::nullopt);
  EXPECT_EQ(read("text_config.pad_token_id", "").pad, 0);
  EXPECT_EQ(read("dtype", "").torch_dtype, "");
  EXPECT_EQ(read("torch_dtype", "\"float16\"").torch_dtype, "float32");  // the newer name wins
  EXPECT_EQ(parse(with(kFour, "torch_dtype", "")).torch_dtype, "bfloat16");
  EXPECT_EQ(parse(with(kFour, "vision_config", "")).vision.intermediate_size, 4096);
  EXPECT_EQ(parse(with(kFour, "vision_config", "{}")).vision.hidden_size, 768);
}

TEST(ModelConfig, ANegativeIdIsNone) {
  const auto read = [](const char* field, const char* value) { return parse(with(kFive, field, value)); };
  EXPECT_EQ(read("pad_token_id", "-1").pad, std::nullopt);
  EXPECT_EQ(read("text_config.pad_token_id", "-1").pad, std::nullopt);
  EXPECT_EQ(read("bos_token_id", "-1").bos, std::nullopt);
  EXPECT_THAT(read("eos_token_id", "-1").eos, ElementsAre());
  EXPECT_THAT(read("eos_token_id", "[-1, 3]").eos, ElementsAre(3));
}

TEST(ModelConfig, AttentionThatWasChosenAlreadyIsTheTextConfigsToSay) {
  const auto autoset = [](const char* field, const char* value) {
    return parse(with(kFive, field, value)).text.attention_autoset;
  };
  EXPECT_FALSE(parse(kFive).text.attention_autoset);
  EXPECT_TRUE(autoset("text_config._attn_implementation_autoset", "true"));
  EXPECT_FALSE(autoset("text_config._attn_implementation_autoset", "false"));
  EXPECT_FALSE(autoset("text_config._attn_implementation_autoset", "null"));
  EXPECT_FALSE(autoset("_attn_implementation_autoset", "true"));
}

TEST(ModelConfig, AHeadThatIsNotStoredIsTiedByTheOuterWord) {
  const auto read = [](const char* outer, const char* inner) {
    return parse(with(with(kFive, "tie_word_embeddings", outer).c_str(), "text_config.tie_word_embeddings",
                      inner))
        .text;
  };
  EXPECT_TRUE(read("true", "false").ties_missing_head);
  EXPECT_TRUE(read("", "false").ties_missing_head);
  EXPECT_FALSE(read("false", "true").ties_missing_head);
  EXPECT_FALSE(read("true", "false").tie_word_embeddings);
  EXPECT_FALSE(read("false", "true").tie_word_embeddings);
  EXPECT_TRUE(read("", "").tie_word_embeddings);
}

TEST(ModelConfig, NumbersCountByTheirValueAndUnreadFieldsNotAtAll) {
  const auto read = [](const char* field, const char* value) { return parse(with(kFive, field, value)); };
  EXPECT_EQ(read("text_config.num_hidden_layers", "3.0").text.layers, 3);
  EXPECT_EQ(read("text_config.query_pre_attn_scalar", "20").text.query_pre_attn_scalar, 20);
  EXPECT_THAT(read("eos_token_id", "[1.0]").eos, ElementsAre(1));
  std::string text = kFive;
  text.replace(text.find("0.02"), 4, "NaN");
  text.replace(text.find("\"5.23.0\""), 8, "\"\\udc00\"");
  EXPECT_EQ(parse("\xef\xbb\xbf" + text).text.layers, 3);
}

TEST(ModelConfig, RefusesOtherModels) {
  EXPECT_THAT(error_with("model_type", "\"llama\""),
              HasSubstr("config.json: model_type is \"llama\"; only \"paligemma\" is supported"));
  EXPECT_THAT(error_with("model_type", ""), HasSubstr("only \"paligemma\" is supported"));
  EXPECT_THAT(error_with("architectures", "[\"LlamaForCausalLM\"]"),
              HasSubstr("architectures has \"LlamaForCausalLM\""));
  EXPECT_EQ(error_with("architectures", "null"), "no error");
  EXPECT_THAT(error_with("text_config.model_type", "\"gemma\""),
              HasSubstr("text_config.model_type is \"gemma\", so this is PaliGemma 1; only PaliGemma 2"));
  EXPECT_THAT(error_with("text_config.model_type", ""), HasSubstr("PaliGemma 1"));
  EXPECT_THAT(error_with("text_config", ""), HasSubstr("text_config is missing, so this is PaliGemma 1"));
  EXPECT_THAT(error_with("text_config.model_type", "\"gemma3\""), HasSubstr("only \"gemma2\" is supported"));
  EXPECT_THAT(error_with("vision_config.model_type", "\"clip\""),
              HasSubstr("vision_config.model_type is \"clip\""));
  EXPECT_THAT(error_with("vision_config.hidden_act", "\"gelu\""),
              HasSubstr("vision_config.hidden_act is \"gelu\""));
  EXPECT_THAT(error_with("text_config.hidden_activation", "\"relu\""),
              HasSubstr("hidden_activation is \"relu\""));
  EXPECT_EQ(error_with("text_config.hidden_act", "\"gelu\""),
            "no error");  // a relic beside hidden_activation
  EXPECT_THAT(error_of([] { parse(with(kFour, "text_config.hidden_act", "\"gelu\"")); }),
              HasSubstr("hidden_act is"));
  EXPECT_THAT(error_with("text_config.attention_bias", "true"), HasSubstr("attention_bias is true"));
  EXPECT_THAT(error_with("text_config.rope_parameters.rope_type", "\"yarn\""),
              HasSubstr("text_config.rope_parameters.rope_type is \"yarn\""));
  EXPECT_THAT(error_with("text_config.rope_scaling", R"({"type": "linear", "factor": 2.0})"),
              HasSubstr("text_config.rope_scaling.type is \"linear\""));
  EXPECT_THAT(error_with("text_config.rope_parameters.factor", "2"), HasSubstr("factor is given"));
  EXPECT_THAT(error_with("quantization_config", R"({"quant_method": "bitsandbytes"})"),
              HasSubstr("quantised"));
}

TEST(ModelConfig, RefusesNonsenseNumbersNamingBoth) {
  EXPECT_THAT(error_with("text_config.num_attention_heads", "0"),
              HasSubstr("config.json: text_config.num_attention_heads is 0, not from 1 to 1048576"));
  EXPECT_THAT(error_with("text_config.num_key_value_heads", "3"),
              HasSubstr("text_config.num_attention_heads is 4, not a multiple of num_key_value_heads, 3"));
  EXPECT_THAT(error_with("text_config.head_dim", "15"), HasSubstr("text_config.head_dim is 15"));
  EXPECT_THAT(error_with("text_config.head_dim", "1048576"),
              HasSubstr("for 4 heads, together more than 1048576"));
  EXPECT_THAT(error_with("text_config.head_dim", "null"), HasSubstr("text_config.head_dim is null"));
  EXPECT_THAT(error_with("text_config.head_dim", "\"16\""), HasSubstr("text_config.head_dim is \"16\""));
  EXPECT_THAT(error_with("text_config.head_dim", "16.5"),
              HasSubstr("text_config.head_dim is 16.5, not a whole number"));
  EXPECT_THAT(error_with("text_config.hidden_size", "49"),
              HasSubstr("projection_dim is 48, but text_config.hidden_size is 49"));
  EXPECT_THAT(error_with("text_config.layer_types", "[\"full_attention\"]"),
              HasSubstr("text_config.layer_types has 1 entries, but num_hidden_layers is 3"));
  EXPECT_THAT(error_with("text_config.layer_types", "[\"linear\"]"), HasSubstr("layer_types has \"linear\""));
  EXPECT_THAT(error_with("text_config.sliding_window", "0"), HasSubstr("text_config.sliding_window is 0"));
  EXPECT_THAT(error_with("text_config.attn_logit_softcapping", "0.0"), HasSubstr("write null for no cap"));
  EXPECT_THAT(error_with("text_config.attn_logit_softcapping", "-1"),
              HasSubstr("attn_logit_softcapping is -1"));
  EXPECT_THAT(error_with("text_config.query_pre_attn_scalar", "0"), HasSubstr("query_pre_attn_scalar is 0"));
  EXPECT_THAT(error_with("text_config.rms_norm_eps", "-1"), HasSubstr("rms_norm_eps is -1"));
  std::string infinite = kFive;
  infinite.replace(infinite.find("5000.0"), 6, "1e9999");
  EXPECT_THAT(error_of([&] { parse(infinite); }), HasSubstr("text_config.rope_parameters.rope_theta is inf"));
  EXPECT_THAT(error_with("vision_config.num_attention_heads", "5"),
              HasSubstr("vision_config.hidden_size is 32, not a multiple of num_attention_heads, 5"));
  EXPECT_THAT(error_with("vision_config.image_size", "13"),
              HasSubstr("vision_config.image_size is 13, less than patch_size, 14"));
  EXPECT_THAT(error_with("vision_config.image_size", "[224, 224]"),
              HasSubstr("vision_config.image_size is a list"));
  EXPECT_THAT(error_with("vision_config.num_channels", "1"), HasSubstr("vision_config.num_channels is 1"));
  EXPECT_THAT(error_with("vision_config.num_hidden_layers", "99999999"), HasSubstr("not from 1 to 4096"));
  EXPECT_THAT(error_with("vision_config", "7"), HasSubstr("vision_config is 7"));
  EXPECT_THAT(error_with("eos_token_id", "\"</s>\""), HasSubstr("eos_token_id is"));
  EXPECT_THAT(error_with("image_token_index", "-1"), HasSubstr("image_token_index is -1"));
}

TEST(ModelConfig, SaysWhatIsWrongWithTheFile) {
  TempFolder folder;
  EXPECT_THAT(error_of([&] { read_model_config(folder.path()); }),
              HasSubstr("config.json: there is no such file"));
  folder.write("config.json", "{");
  EXPECT_THAT(error_of([&] { read_model_config(folder.path()); }), HasSubstr("config.json: not valid JSON"));
  folder.write("config.json", "[]");
  EXPECT_THAT(error_of([&] { read_model_config(folder.path()); }),
              HasSubstr("config.json: the whole is a list"));
  folder.write("config.json", kFive);
  EXPECT_EQ(read_model_config(folder.path()).text.layers, 3);
  EXPECT_EQ(read_model_config(folder / "config.json").text.layers, 3);
}

struct Published {
  const char* name;
  int64_t text, projector, total;
};

// What the published checkpoints hold; vision and total follow the resolution.
TEST(ModelConfig, CountsTheParametersOfThePublishedModels) {
  const int64_t vision[] = {412'442'352, 413'327'088, 416'866'032};
  const Published sizes[] = {{"3b", 2'617'143'552, 2'656'512, 3'032'242'416},
                             {"10b", 9'246'064'128, 4'132'352, 9'662'638'832},
                             {"28b", 27'232'731'648, 5'313'024, 27'650'487'024}};
  for (const Published& size : sizes) {
    for (int i = 0; i < 3; ++i) {
      const int64_t pixels = 224 << i;
      const std::string name = cat("/configs/models/paligemma2-", size.name, "-pt-", pixels, ".json");
      const ModelConfig config = read_model_config(LAPIDARY_SOURCE_DIR + name);
      const ParameterCounts counts = parameters(config);
      EXPECT_EQ(counts.vision, vision[i]) << name;
      EXPECT_EQ(counts.projector, size.projector) << name;
      EXPECT_EQ(counts.text, size.text) << name;
      EXPECT_EQ(counts.total(), size.total + vision[i] - vision[0]) << name;
      EXPECT_EQ(config.vision.tokens(), 256 << (2 * i)) << name;
      EXPECT_EQ(config.vision.image_size, pixels) << name;
    }
  }
  for (const char* size : {"3b", "10b"}) {
    const std::string folder = LAPIDARY_SOURCE_DIR "/configs/models/paligemma2-";
    EXPECT_EQ(parameters(read_model_config(folder + size + "-ft-docci-448.json")).total(),
              parameters(read_model_config(folder + size + "-pt-448.json")).total());
  }
}

TEST(ModelConfig, KnowsTheLargestModelsOddities) {
  const ModelConfig config =
      read_model_config(LAPIDARY_SOURCE_DIR "/configs/models/paligemma2-28b-pt-896.json");
  EXPECT_EQ(config.text.head_dim, 128);
  EXPECT_EQ(config.text.query_pre_attn_scalar, 144);
  EXPECT_EQ(config.text.q_width(), 4096);
  EXPECT_EQ(config.text.kv_width(), 2048);
}

TEST(Parameters, CountAnUntiedHead) {
  const ModelConfig untied = parse(with(kFive, "tie_word_embeddings", "false"));
  EXPECT_EQ(parameters(untied).text - parameters(parse(kFive)).text, 64 * 48);
}

}  // namespace
}  // namespace lapidary
