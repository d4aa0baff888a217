from lxml import etree

from gateway.xml.windows import windows


def test_a_copy_has_the_declarations_that_names_and_values_need_and_no_others() -> None:
    many = " ".join(f'xmlns:n{number}="urn:{number}"' for number in range(90))
    rows = '<Y é:a="q:x"/>' * 250
    document = etree.fromstring(f'<E xmlns:q="urn:q" {many}><D><X {many} xmlns:é="urn:e">{rows}</X></D></E>')
    copies = [copy for copy, _ in windows(document[0])]
    assert [len(copy[0]) for copy in copies] == [200, 51]
    for copy in copies:
        assert (copy.nsmap, copy[0].nsmap) == ({"q": "urn:q"}, {"q": "urn:q", "é": "urn:e"})
        assert copy[0][0].attrib == {"{urn:e}a": "q:x"}


def test_an_element_without_namespace_stays_so() -> None:
    rows = "<Y/>" * 250
    document = etree.fromstring(f'<D xmlns="urn:d"><X xmlns="">{rows}</X></D>')
    assert [[each.tag for each in copy.iter()][:3] for copy, _ in windows(document)] == [["{urn:d}D", "X", "Y"]] * 2
