from curate import select
from curate.steps.select.facility_location import FacilityLocation
from tests.steps.select.deciding import VECTORS, decide, kept


def test_it_keeps_what_the_function_chooses():
    all_pairs = decide(FacilityLocation(count=7, neighbours=None), VECTORS)
    assert kept(all_pairs) == sorted(select.facility_location(VECTORS, 7).tolist())
    few = decide(FacilityLocation(count=7, neighbours=5), VECTORS)
    chosen = select.facility_location(VECTORS, 7, neighbours=5)
    assert kept(few) == sorted(chosen.tolist()) != kept(all_pairs)
