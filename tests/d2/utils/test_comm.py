"""A single process talks to itself; two processes are in tests/d2/engine/test_launch.py."""

from ovseg_d2.d2.utils import comm


def test_one_process_is_the_whole_job():
    assert (comm.get_rank(), comm.get_local_rank()) == (0, 0)
    assert comm.get_world_size() == 1
    assert comm.is_main_process()
    comm.synchronize()


def test_gathering_gives_back_the_object_itself():
    data = object()
    assert comm.all_gather(data)[0] is data
    assert comm.gather(data)[0] is data
    assert len(comm.all_gather(data)) == len(comm.gather(data)) == 1
