"""Contract of comm with one process; two processes are in tests/d2/engine/test_launch.py."""

from ovseg_d2.d2.utils import comm


def test_comm_of_one_process():
    assert (comm.get_rank(), comm.get_local_rank()) == (0, 0)
    assert comm.get_world_size() == 1
    assert comm.is_main_process()
    comm.synchronize()


def test_gather_in_one_process_returns_the_object():
    data = object()
    assert comm.all_gather(data)[0] is data
    assert comm.gather(data)[0] is data
    assert len(comm.all_gather(data)) == len(comm.gather(data)) == 1
