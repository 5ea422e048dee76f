"""The stream of draws: positions, passes, ranks, resuming, and random numbers of samples."""

from itertools import islice

import numpy as np
import pytest

from ovseg_d2.data.sampler import Draw, SampleStream, numpy_seeded, sample_rng


def take(count: int, *args, **kwargs) -> list[Draw]:
    return list(islice(SampleStream(*args, **kwargs), count))


def test_sample_stream_positions_and_seed():
    draws = take(25, 10, 4, seed=3)
    assert [draw.position for draw in draws] == list(range(25))
    assert {draw.seed for draw in draws} == {3}


@pytest.mark.parametrize(("size", "batch_size"), [(10, 4), (3, 8), (1, 2)])
def test_sample_stream_passes_are_permutations(size, batch_size):
    indices = [draw.index for draw in take(5 * size, size, batch_size)]
    passes = [indices[i : i + size] for i in range(0, 5 * size, size)]
    assert all(sorted(order) == list(range(size)) for order in passes)
    assert size < 3 or len({tuple(order) for order in passes}) > 1


def test_sample_stream_depends_on_the_seed():
    assert take(40, 20, 4, seed=1) == take(40, 20, 4, seed=1)
    indices = {tuple(draw.index for draw in take(20, 20, 4, seed=seed)) for seed in range(5)}
    assert len(indices) == 5
    assert [d.index for d in take(20, 20, 4, seed=-1)] != [d.index for d in take(20, 20, 4, seed=0)]


def test_sample_stream_ignores_global_generators():
    np.random.seed(1)
    first = take(30, 10, 4)
    np.random.seed(2)
    assert take(30, 10, 4) == first


def test_sample_stream_without_shuffling():
    assert [draw.index for draw in take(7, 3, 2, shuffle=False)] == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("iteration", [1, 2, 3, 7, 1000])
def test_sample_stream_resumes(iteration):
    whole = take(4 * iteration + 24, 10, 4, seed=5)
    assert take(24, 10, 4, seed=5, start_iteration=iteration) == whole[4 * iteration :]


def test_sample_stream_iterates_again():
    stream = SampleStream(10, 4)
    first = list(islice(stream, 12))
    assert list(islice(stream, 12)) == first
    stream.start_iteration = 2
    assert list(islice(stream, 4)) == first[8:]


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_sample_stream_ranks_share_batches(world_size):
    whole = take(60, 10, 6, seed=2)
    streams = [
        SampleStream(10, 6, seed=2, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    assert {stream.share for stream in streams} == {6 // world_size}
    parts = [iter(stream) for stream in streams]
    joined = [d for _ in range(10) for part in parts for d in islice(part, 6 // world_size)]
    assert joined == whole


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": 0, "batch_size": 4}, "size=0: the training dataset is empty"),
        ({"size": 5, "batch_size": 0}, "batch_size=0 cannot be shared out to 1 processes"),
        (
            {"size": 5, "batch_size": 4, "world_size": 3},
            "batch_size=4 cannot be shared out to 3 processes; set SOLVER.IMS_PER_BATCH",
        ),
    ],
)
def test_sample_stream_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        SampleStream(**arguments)


def test_sample_rng_depends_on_seed_position_purpose():
    draw = Draw(index=3, seed=1, position=17)

    def numbers(draw, purpose=0):
        return tuple(sample_rng(draw, purpose).integers(0, 2**32, 4))

    assert numbers(draw) == numbers(draw) == numbers(draw._replace(index=4))
    others = [draw._replace(seed=2), draw._replace(position=18)]
    assert len({numbers(draw), *map(numbers, others), numbers(draw, 1), numbers(draw, 2)}) == 5


def test_sample_rng_differs_from_a_pass():
    for number in range(3):
        order = [draw.index for draw in take(60, 20, 20, seed=4)[20 * number : 20 * number + 20]]
        rng = sample_rng(Draw(index=0, seed=4, position=number))
        assert rng.permutation(20).tolist() != order


def test_numpy_seeded_restores_the_generator():
    draw = Draw(index=0, seed=1, position=5)
    np.random.seed(4)
    expected = np.random.rand(3)
    np.random.seed(4)
    first = np.random.rand()
    with numpy_seeded(draw):
        inside = np.random.rand(3)
    assert [first, *np.random.rand(2)] == expected.tolist()
    np.random.seed(99)
    with numpy_seeded(draw):
        np.testing.assert_array_equal(np.random.rand(3), inside)
    with numpy_seeded(draw._replace(position=6)):
        assert not np.array_equal(np.random.rand(3), inside)


def test_numpy_seeded_restores_after_an_error():
    np.random.seed(4)
    expected = np.random.rand()
    np.random.seed(4)
    with pytest.raises(RuntimeError, match="on purpose"), numpy_seeded(Draw(0, 0, 0)):
        np.random.rand()
        raise RuntimeError("on purpose")
    assert np.random.rand() == expected
