from gateway.messaging.processing.prepare import _full_names, _local_names


def test_a_fault_names_the_first_documents_of_many() -> None:
    parts = [f"{{urn:{'x' * 300}}}Part{number}" for number in range(100)]
    assert _local_names(parts) == f"{', '.join(f'Part{number}' for number in range(12))} and 88 more"
    assert len(_full_names(parts)) < 12 * 210
    assert (_local_names(parts[:2]), _local_names([])) == ("Part0, Part1", "nothing")
