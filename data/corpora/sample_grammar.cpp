#include "data/corpora/sample_grammar.h"

namespace chorus {

namespace {

using Phrases = std::string_view;

constexpr Phrases ordinary_events[] = {"moved the meeting to the afternoon",
                                       "painted the kitchen door green",
                                       "bought a second umbrella",
                                       "takes the early bus now",
                                       "changed the opening hours",
                                       "started to learn the piano",
                                       "put a new lamp in the hallway",
                                       "is reading a book about rivers",
                                       "parked behind the post office",
                                       "ordered tea instead of coffee",
                                       "wrote the shopping list",
                                       "has a dentist appointment",
                                       "planted beans next to the fence",
                                       "cooked rice with vegetables",
                                       "folded the laundry in the evening",
                                       "will call again on Friday",
                                       "walked home along the canal",
                                       "returned the ladder"};
constexpr Phrases startling_events[] = {"turned out to have a twin",
                                        "walked in with bright blue hair",
                                        "speaks nine languages",
                                        "found an old coin under the floor",
                                        "used to be a famous magician",
                                        "got married in secret last winter",
                                        "appeared on television last night",
                                        "can walk on stilts",
                                        "ran into a film star at the bakery",
                                        "dug up a huge bone in the garden",
                                        "sold a drawing to a museum",
                                        "lived in a lighthouse for a year",
                                        "guessed every number on the ticket",
                                        "came back after twenty years",
                                        "swam across the whole lake",
                                        "has a tiger on a photograph"};
constexpr Phrases threatening_events[] = {"heard footsteps in the empty house",
                                          "saw a snake under the porch",
                                          "got a threatening letter",
                                          "noticed a stranger at the window",
                                          "smelled smoke in the stairwell",
                                          "is lost in the storm",
                                          "felt the bridge shake",
                                          "found the lock broken",
                                          "saw a wolf near the school",
                                          "stands on a cracking sheet of ice",
                                          "heard a scream from the cellar",
                                          "was followed through the dark park",
                                          "saw the water rise to the door",
                                          "lost the brakes on the hill",
                                          "woke up to an earthquake",
                                          "is alone with a growling dog"};
constexpr Phrases bad_events[] = {"lost the job at the library",
                                  "broke a leg on the stairs",
                                  "said goodbye to the old dog",
                                  "failed the driving test again",
                                  "is in the hospital",
                                  "has to sell the house",
                                  "missed the last visit with grandpa",
                                  "dropped grandmother's vase",
                                  "moves away for good",
                                  "lost the wedding ring at sea",
                                  "did not get into the choir",
                                  "spends the holidays alone",
                                  "heard that the village school closes",
                                  "buried the little cat",
                                  "cried all night",
                                  "broke up after seven years"};
constexpr Phrases good_events[] = {
    "won the baking contest",          "got the job at the theatre", "is having a baby",
    "passed the final exam",           "found the lost puppy",       "came home from the hospital",
    "got tickets for the big concert", "was chosen for the team",    "is getting married in May",
    "won a trip to the sea",           "paid back the whole loan",   "learned to walk again",
    "got the best marks of the class", "adopted two kittens",        "opened a little bakery",
    "finally beat the champion"};
constexpr Phrases gross_events[] = {"found a hair in the soup",
                                    "sneezed into the salad",
                                    "stepped into a rotten fish",
                                    "keeps dirty socks in the fridge",
                                    "drank the sour milk",
                                    "found worms in the flour",
                                    "never washes the dishes",
                                    "ate a sandwich from the bin",
                                    "spilled old garbage on the carpet",
                                    "licked the spoon and put it back",
                                    "found a mouldy melon in the car",
                                    "clips toenails at the table",
                                    "let the dog lick all the plates",
                                    "threw up on the bus",
                                    "found a cockroach in the bread",
                                    "wipes the table with the floor rag"};
constexpr Phrases unfair_events[] = {"took all the credit for our work",
                                     "lied to the whole family",
                                     "raised the rent again",
                                     "scratched my car and drove off",
                                     "read my diary aloud",
                                     "cheated in the final",
                                     "cancelled my holiday at the last hour",
                                     "sold my bicycle without asking",
                                     "blamed me for the broken window",
                                     "kept the money of the collection",
                                     "laughed at my little brother",
                                     "jumped the queue twice",
                                     "gave my seat away",
                                     "broke the promise again",
                                     "fined us for nothing",
                                     "threw away my drawings"};

constexpr Phrases neutral_statements[] = {"I think {who} {event}, that is all.",
                                          "If I remember it right, {who} {event}.",
                                          "For the record, {who} {event}.", "As I said, {who} {event}."};
constexpr Phrases surprise_statements[] = {
    "I am completely stunned that {who} {event}!", "Wow, I never expected that {who} {event}!",
    "What a surprise, {who} {event}!", "I am amazed that {who} {event}!",
    "It astonishes me that {who} {event}!"};
constexpr Phrases fear_statements[] = {
    "I am scared, {who} {event}.", "My hands are shaking because {who} {event}.",
    "I am terrified since {who} {event}.", "Please stay with me, I am afraid, {who} {event}.",
    "It frightens me that {who} {event}."};
constexpr Phrases sadness_statements[] = {
    "It breaks my heart that {who} {event}.", "I am so sad because {who} {event}.",
    "I could weep, {who} {event}.", "I feel miserable since {who} {event}.", "It hurts that {who} {event}."};
constexpr Phrases joy_statements[] = {"I am so happy that {who} {event}!", "Hooray, {who} {event}!",
                                      "This is wonderful, {who} {event}!", "I could dance, {who} {event}!",
                                      "I am delighted that {who} {event}!"};
constexpr Phrases disgust_statements[] = {
    "Yuck, {who} {event}.", "It makes me sick that {who} {event}.", "How revolting, {who} {event}.",
    "I am disgusted that {who} {event}.", "Ugh, I lost my appetite because {who} {event}."};
constexpr Phrases anger_statements[] = {"I am furious that {who} {event}!", "How dare they, {who} {event}!",
                                        "It makes my blood boil that {who} {event}!",
                                        "I am so angry because {who} {event}!",
                                        "I will not stand for it, {who} {event}!"};

constexpr Phrases neutral_adjectives[] = {"calm", "neutral", "relaxed"};
constexpr Phrases surprise_adjectives[] = {"surprised", "amazed", "stunned", "full of surprise"};
constexpr Phrases fear_adjectives[] = {"scared", "afraid", "terrified", "full of fear"};
constexpr Phrases sadness_adjectives[] = {"sad", "unhappy", "miserable", "full of sadness"};
constexpr Phrases joy_adjectives[] = {"happy", "glad", "delighted", "full of joy"};
constexpr Phrases disgust_adjectives[] = {"disgusted", "sickened", "full of disgust"};
constexpr Phrases anger_adjectives[] = {"angry", "furious", "outraged", "full of anger"};

constexpr FeelingWords words_by_feeling[feelings] = {
    {"neutral", "neutral", ordinary_events, neutral_statements, neutral_adjectives},
    {"surprise", "positive", startling_events, surprise_statements, surprise_adjectives},
    {"fear", "negative", threatening_events, fear_statements, fear_adjectives},
    {"sadness", "negative", bad_events, sadness_statements, sadness_adjectives},
    {"joy", "positive", good_events, joy_statements, joy_adjectives},
    {"disgust", "negative", gross_events, disgust_statements, disgust_adjectives},
    {"anger", "negative", unfair_events, anger_statements, anger_adjectives}};

constexpr Phrases names[] = {"Mia", "Leo", "Nora", "Omar", "Tess", "Ivan"};
constexpr Phrases subjects[] = {
    "my sister",         "my uncle",           "our neighbour",      "the new teacher",
    "my cousin",         "the landlady",       "the girl next door", "my old friend Bea",
    "our captain",       "the baker",          "my brother-in-law",  "the boy from the café",
    "our old boss",      "the postman",        "my flatmate",        "the choir leader",
    "my best friend",    "the nurse upstairs", "aunt Rosa",          "the man with the hat",
    "our driver",        "the caretaker",      "my godfather",       "the young doctor",
    "the tall librarian"};
constexpr Phrases times[] = {"this morning",       "yesterday",    "on Sunday",        "an hour ago",
                             "last week",          "just now",     "after the party",  "before lunch",
                             "while we were away", "two days ago", "during the break", "last night"};
constexpr Phrases news[] = {"{Who} {event}.",
                            "Listen, {who} {event}.",
                            "Somebody told me that {who} {event}.",
                            "{When} I heard that {who} {event}.",
                            "{Name}, {who} {event}.",
                            "The message says: \"{who} {event}\".",
                            "So, {who} {event}, they told me {when}.",
                            "By the way, {who} {event}."};
constexpr Phrases openings[] = {"", "", "", "Oh, ", "Wait, ", "Hm, ", "{Name}, "};
constexpr Phrases reactions[] = {
    "really?",       "are you serious?",   "I can't believe it.", "no way!",
    "is that true?", "say that again.",    "I have no words.",    "you are kidding.",
    "tell me more.", "that is something.", "what did you say?",   "so that is how it is."};
constexpr Phrases echoes[] = {"I feel the same.", "Me too, to be honest.",         "So do I.",
                              "You and me both.", "I feel just like you, {name}.", "That makes two of us."};
constexpr Phrases questions[] = {"When did that happen?",  "Who told you, {name}?",
                                 "Where were you {when}?", "Do you want some water?",
                                 "How long did it take?",  "Did you write to {who}?",
                                 "Which one do you mean?", "Shall we sit down, {name}?"};
constexpr Phrases small_talk[] = {"The bus leaves at a quarter past nine.",
                                  "I will put the kettle on.",
                                  "The window is open.",
                                  "It is Tuesday today.",
                                  "Your coat is on the chair.",
                                  "I have to be back by six.",
                                  "The keys are next to the radio.",
                                  "We could go through the park.",
                                  "I saw {who} {when}.",
                                  "There is bread on the table, {name}.",
                                  "The shop closes at eight.",
                                  "I brought the newspaper."};

constexpr Phrases story_openings[] = {
    "{When} {name} met {friend} at the market.", "{name} and {friend} sat in the kitchen.",
    "{name} called {friend} {when}.", "It was raining, and {name} waited for {friend}.",
    "{friend} knocked at the door of {name}."};
constexpr Phrases story_feelings[] = {"{name} felt {feels} because {who} {event}.",
                                      "{name} was {feels}: {who} {event}.",
                                      "When {name} heard that {who} {event}, {name} was {feels}.",
                                      "{friend} told {name} that {who} {event}. That made {name} {feels}.",
                                      "\"I heard that {who} {event},\" said {friend}. {name} became {feels}.",
                                      "Because {who} {event}, the feeling of {name} was {noun}."};
constexpr Phrases story_closings[] = {"They talked about it for a long time.", "Then {friend} went home.",
                                      "{friend} was {feels}, too.", "In the evening they ate soup together.",
                                      "After that, both were quiet."};

constexpr CommonWords common{names,  subjects,  times,      news,           reactions,      openings,
                             echoes, questions, small_talk, story_openings, story_feelings, story_closings};

}  // namespace

std::span<const FeelingWords, feelings> feeling_words() { return words_by_feeling; }
const CommonWords& common_words() { return common; }

}  // namespace chorus
