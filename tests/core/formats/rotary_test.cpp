#include "core/formats/rotary.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace chorus {
namespace {

using nlohmann::json;

void expect_row(const Rotary& rope, std::int64_t head_width, std::int64_t position,
                const std::vector<double>& expected) {
  const auto table = rope_table(rope, head_width, position + 1);
  ASSERT_EQ(static_cast<std::int64_t>(table.size()), (position + 1) * head_width);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const float found = table[static_cast<std::size_t>(position * head_width) + i];
    // One rounding to f32; the f64 angle is wrong by far less.
    EXPECT_NEAR(found, expected[i], 6e-8) << "element " << i;
  }
}

// Expected values from an independent f64 implementation in numpy.
TEST(RopeTable, AgreesWithNumpy) {
  expect_row({}, 6, 11,
             {0.004425697988050785, 0.8724637730353484, 0.9997191970182697, -0.9999902065507035,
              0.48867879505962214, 0.02369656331931094});
  expect_row({}, 6, 0, {1, 1, 1, 0, 0, 0});
}

// As transformers divides all frequencies by the factor: position 22 of factor 2 is turned as position 11.
TEST(RopeTable, LinearScalingDividesPositions) {
  Rotary scaled{.scaling = RopeScaling{RopeType::linear, 2}};
  const auto expected = rope_table({}, 6, 12), found = rope_table(scaled, 6, 23);
  for (std::size_t position = 0; position < 12; ++position) {
    for (std::size_t i = 0; i < 6; ++i)
      EXPECT_NEAR(found[(2 * position) * 6 + i], expected[position * 6 + i], 6e-8) << position << " " << i;
  }
  expect_row(scaled, 6, 22,
             {0.004425697988050785, 0.8724637730353484, 0.9997191970182697, -0.9999902065507035,
              0.48867879505962214, 0.02369656331931094});
  scaled.scaling->factor = 1;
  EXPECT_EQ(rope_table(scaled, 6, 12), expected);
}

TEST(RopeTable, DynamicScalingChangesNothingWithinThePositionsOfTheBase) {
  const Rotary scaled{.scaling = RopeScaling{RopeType::dynamic, 8}};
  EXPECT_EQ(rope_table(scaled, 6, 12), rope_table({}, 6, 12));
}

TEST(RopeTable, ScalesAsLlama3) {
  // Keeps four frequencies, divides three, one in between.
  const Rotary scaled{500000, RopeScaling{RopeType::llama3, 8, 1, 4, 8192}};
  expect_row(scaled, 16, 3000,
             {-0.9756821998857504, -0.8399564669342446, 0.9612644367399988, -0.9936048729362598,
              -0.003742147449947555, 0.9947163113616253, 0.9998011328095008, 0.9999925211557171,
              0.21918997428281808, -0.5426537880226593, -0.2756277973262725, 0.1129130483040778,
              0.9999929981417184, 0.10266187174955499, 0.019942287552811393, 0.003867509874924457});
}

// What ROPE_INIT_FUNCTIONS["yarn"] of transformers 5.24 gives for a LLaMA with these parameters and heads of 16.
TEST(RopeTable, ScalesAsYarn) {
  struct Case {
    double theta;
    json parameters;
    double attention_factor;
    std::vector<double> frequencies;
  };
  const Case cases[] = {
      // As Qwen 2.5 is stretched to 131,072 positions.
      {1e6,
       {{"factor", 4.0}, {"original_max_position_embeddings", 32768}},
       1.138629436111989,
       {1.0, 0.17782793939113617, 0.03162277862429619, 0.004217559937387705, 0.0005000000237487257,
        4.4456985051510856e-05, 7.905693564680405e-06, 1.405853367941745e-06}},
      {1e4,
       {{"factor", 8.0},
        {"original_max_position_embeddings", 128},
        {"mscale", 1.0},
        {"mscale_all_dim", 0.5},
        {"beta_fast", 16},
        {"beta_slow", 2}},
       1.094179988101349,
       {1.0, 0.2239946573972702, 0.0416666641831398, 0.0039528473280370235, 0.0012499999720603228,
        0.00039528473280370235, 0.0001250000059371814, 3.9528473280370235e-05}},
      {1e4,
       {{"factor", 8.0},
        {"original_max_position_embeddings", 128},
        {"truncate", false},
        {"attention_factor", 0.75}},
       0.75,
       {1.0, 0.2105391025543213, 0.033156611025333405, 0.0039528473280370235, 0.0012499999720603228,
        0.00039528473280370235, 0.0001250000059371814, 3.9528473280370235e-05}},
      // The original context is max_position_embeddings, here 1024.
      {1e4,
       {{"factor", 2.0}, {"mscale", 0.7}},
       1.0693147180559945,
       {1.0, 0.3162277638912201, 0.08750000596046448, 0.023717083036899567, 0.00624999962747097,
        0.0015811389312148094, 0.0005000000237487257, 0.00015811389312148094}},
      // Nothing lies between the two indices.
      {1e4,
       {{"factor", 2.0},
        {"original_max_position_embeddings", 512},
        {"beta_fast", 3},
        {"beta_slow", 3},
        {"truncate", false}},
       1.0693147180559945,
       {1.0, 0.3162277638912201, 0.10000000149011612, 0.015811389312148094, 0.004999999888241291,
        0.0015811389312148094, 0.0005000000237487257, 0.00015811389312148094}}};
  for (const auto& [theta, parameters, attention_factor, frequencies] : cases) {
    SCOPED_TRACE(parameters.dump());
    json content{{"rope_theta", theta}, {"rope_scaling", parameters}};
    content["rope_scaling"]["rope_type"] = "yarn";
    constexpr int position = 3;
    const Rotary rope = read_rotary(JsonFields(content, "config.json"), 1024);
    const std::vector<float> table = rope_table(rope, 16, position + 1);
    for (std::size_t j = 0; j < frequencies.size(); ++j) {
      // Those of transformers are rounded to f32.
      const double angle = position * frequencies[j], error = attention_factor * (4e-7 * angle + 6e-8);
      EXPECT_NEAR(table[16 * position + j], attention_factor * std::cos(angle), error) << j;
      EXPECT_NEAR(table[16 * position + 8 + j], attention_factor * std::sin(angle), error) << j;
    }
  }
}

}  // namespace
}  // namespace chorus
