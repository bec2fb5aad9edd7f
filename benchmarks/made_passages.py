"""Passages that are made: text with the frequencies of a language and a topic for each document, vectors that lie together
where the topics do.

Words are the whole words of the model's vocabulary, the most frequent first, and behind them as many rare names as a large
collection has; they are drawn by Zipf's law. A topic has words of its own. The vector of a topic is the model's of those words,
so that a query that is embedded as always lands near the passages that it is about; documents and passages lie around it, with
noise that is stronger in some directions than in others, as that of real vectors is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from docutalk_ingest.adapters.chunker import load_tokenizer

Vectors = npt.NDArray[np.float32]

TOPICS = 1_000
TOPIC_WORDS = 40
NAMES = 100_000
PASSAGE_WORDS = 180
DOCUMENT_PASSAGES = 25
ABOUT_TOPIC = 0.35
"""Share of the words of a passage that are its topic's; and with the function words about as in an article."""
DOCUMENT_NOISE, PASSAGE_NOISE = 0.8, 1.0
"""Lengths, before normalising, of what sets a document apart from its topic and a passage from its document: cosines of about
.5 between passages of a document and .3 between those of a topic, as within CISI and Cranfield."""


@dataclass(frozen=True)
class Block:
    """Consecutive passages of whole documents. `documents` [documents] is the number of passages of each; `topics` likewise;
    `texts` and `vectors` [passages, dimension] in order."""

    documents: list[int]
    topics: list[int]
    texts: list[str]
    vectors: Vectors


class Language:
    """The same words and topics for the same seed."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng([seed, 0])
        vocabulary = load_tokenizer().get_vocab()
        known = sorted(
            (number, word) for word, number in vocabulary.items() if word.isascii() and word.isalpha() and len(word) > 1
        )
        words = [word for _, word in known]
        pairs = random.integers(2_000, len(words), size=(NAMES, 2))
        names = [f"{words[a]}{words[b]}" if a % 8 else f"{words[a][:3].upper()}-{b}" for a, b in pairs]
        self.words = [*words, *names]
        # Each word twice: within a sentence and at its end.
        self._spelled = [spelled for word in self.words for spelled in (f"{word} ", f"{word}. ")]
        frequencies = 1 / (np.arange(len(self.words)) + 2.7) ** 1.1
        self.cumulative = np.cumsum(frequencies / frequencies.sum())
        self.topics = random.integers(400, len(words), size=(TOPICS, TOPIC_WORDS))
        within = 1 / (np.arange(TOPIC_WORDS) + 2.0)
        self.within = np.cumsum(within / within.sum())

    def topic_texts(self) -> list[str]:
        """What a model is given to place each topic."""
        return [" ".join(self.words[word] for word in topic[:12]) for topic in self.topics]

    def texts(self, topics: Sequence[int], random: np.random.Generator) -> list[str]:
        """A passage about each of these topics."""
        lengths = np.clip(random.lognormal(np.log(PASSAGE_WORDS), 0.25, len(topics)), 30, 260).astype(int)
        total = int(lengths.sum())
        drawn = np.searchsorted(self.cumulative, random.random(total))
        of_topic = np.repeat(np.asarray(topics), lengths)
        about = random.random(total) < ABOUT_TOPIC
        drawn[about] = self.topics[of_topic[about], np.searchsorted(self.within, random.random(int(about.sum())))]
        places = np.minimum(drawn, len(self.words) - 1) * 2 + (random.random(total) < 1 / 16)
        parts = np.split(places, np.cumsum(lengths)[:-1])
        return ["".join(map(self._spelled.__getitem__, part.tolist())).rstrip() for part in parts]

    def query(self, topic: int, random: np.random.Generator) -> str:
        """Some words of the topic and two that are frequent."""
        about = random.choice(self.topics[topic][:12], int(random.integers(4, 9)), replace=False)
        common = random.integers(0, 100, 2)
        return " ".join(self.words[word] for word in random.permutation([*about, *common]))


class Space:
    """Where vectors of passages lie: `topics` [topics, dimension], unit vectors."""

    def __init__(self, seed: int, topics: Vectors) -> None:
        random = np.random.default_rng([seed, 1])
        dimension = topics.shape[1]
        basis, _ = np.linalg.qr(random.normal(size=(dimension, dimension)))
        # As the principal components of the model's vectors of CISI: 8 % of the variance in the first, 87 % in a hundred.
        places = np.arange(dimension)
        strengths = np.sqrt(np.exp(-places / 120) / (places + 4))
        self._shape = (basis * (strengths / np.linalg.norm(strengths))).T.astype(np.float32)
        self._topics = topics

    def _around(self, centres: Vectors, length: float, random: np.random.Generator) -> Vectors:
        noise = random.standard_normal(centres.shape, dtype=np.float32) @ self._shape
        moved = centres + length * noise
        return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)

    def vectors(self, topics: Sequence[int], documents: Sequence[int], random: np.random.Generator) -> Vectors:
        """For each document of that topic and number of passages, the passages' vectors."""
        middles = self._around(self._topics[np.asarray(topics)], DOCUMENT_NOISE, random)
        return self._around(np.repeat(middles, documents, axis=0), PASSAGE_NOISE, random)


def make_block(language: Language, space: Space, passages: int, random: np.random.Generator) -> Block:
    """So many passages, of documents of very different length."""
    documents: list[int] = []
    while (left := passages - sum(documents)) > 0:
        documents.append(min(left, max(1, int(random.lognormal(np.log(DOCUMENT_PASSAGES), 0.8)))))
    # A few topics make up much of a collection.
    topics = [int(topic) for topic in np.minimum(random.pareto(1.2, len(documents)) * TOPICS / 12, TOPICS - 1)]
    texts = language.texts(np.repeat(topics, documents).tolist(), random)
    return Block(documents, topics, texts, space.vectors(topics, documents, random))
