"""The parts of the dashboards, in the terms of Grafana's foundation SDK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    barchart,
    common,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

ON: Final = 'job=~"$job", instance=~"$instance"'
"""The daemons that are chosen: Grafana's linter wants both in every selector."""
OF_COMPONENT: Final = f'{ON}, component=~"$component"'
"""Of the chosen components, and of none where all are chosen."""

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "text"

Steps = Sequence[tuple[float | None, str]]
"""From which value on which colour; None for the least."""
Meaning = Mapping[Any, tuple[str, str]]
"""The word for each value, and its colour."""

BAD_FROM_ONE: Final[Steps] = ((None, GREEN), (1, RED))
POOR_FROM_ONE: Final[Steps] = ((None, GREEN), (1, ORANGE))
NEUTRAL: Final[Steps] = ((None, BLUE),)
SHARE_LEFT: Final[Steps] = ((None, RED), (0.125, ORANGE), (0.25, YELLOW), (1 / 3, GREEN))
"""The shares of the lifetime at which certvigil raises its own findings by default."""

SHARE_UP: Final[Steps] = ((None, RED), (0.99, YELLOW), (0.999, GREEN))

YES_OR_NO: Final = {1: ("accepts", GREEN), 0: ("rejects", RED)}

CERTIFICATE_LINK: Final = (
    "/d/certvigil-certificate/certificate?var-sha256=${__data.fields.sha256}&${datasource:queryparam}"
)


def query(expression: str, legend: str = "", ref: str = "A") -> prometheus.Dataquery:
    """Return a query over the time range that is shown."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref).range().datasource(SOURCE)


def now(expression: str, ref: str = "A") -> prometheus.Dataquery:
    """Return a query for the state at the end of the range, as a table with a column for each label."""
    return (
        prometheus.Dataquery().expr(expression).ref_id(ref).instant().format(PromQueryFormat.TABLE).datasource(SOURCE)
    )


def steps(colors: Steps) -> build.ThresholdsConfig:
    """Return where which colour begins."""
    thresholds = [model.Threshold(value=value, color=color) for value, color in colors]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(thresholds)


def words(meaning: Meaning) -> list[model.ValueMapping]:
    """Return the text in place of each value, and its colour."""
    results = {
        str(value): model.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(meaning.items())
    }
    return [model.ValueMap(results)]


def number(title: str, expression: str, about: str, colors: Steps = BAD_FROM_ONE, unit: str = "short") -> stat.Panel:
    """Return one number, as of now."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .with_target(prometheus.Dataquery().expr(expression).instant().ref_id("A").datasource(SOURCE))
        .unit(unit)
        .thresholds(steps(colors))
        .color_mode(common_model.BigValueColorMode.BACKGROUND)
        .graph_mode(common_model.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("unknown")
        .height(4)
        .span(4)
    )


def lines(title: str, about: str, *queries: prometheus.Dataquery, unit: str = "short") -> timeseries.Panel:
    """Return lines over time."""
    panel = timeseries.Panel().title(title).description(about).datasource(SOURCE).unit(unit).height(8).span(12)
    for each in queries:
        panel = panel.with_target(each)
    return panel.fill_opacity(8).show_points(common_model.VisibilityMode.AUTO).legend(_legend()).tooltip(_all())


def bars(title: str, about: str, *queries: prometheus.Dataquery, unit: str = "short") -> timeseries.Panel:
    """Return stacked bars over time: how often something happened."""
    stacked = common.StackingConfig().mode(common_model.StackingMode.NORMAL)
    panel = lines(title, about, *queries, unit=unit).draw_style(common_model.GraphDrawStyle.BARS)
    return panel.fill_opacity(80).stacking(stacked).min(0).decimals(0)


def states(title: str, about: str, *queries: prometheus.Dataquery) -> statetimeline.Panel:
    """Return a band for each series, with colours for its states over time."""
    panel = statetimeline.Panel().title(title).description(about).datasource(SOURCE).height(8).span(12)
    for each in queries:
        panel = panel.with_target(each)
    panel = panel.merge_values(True).show_value(common_model.VisibilityMode.AUTO).row_height(0.85).tooltip(_all())
    return panel.fill_opacity(80).line_width(0)


def rows(title: str, about: str, *queries: prometheus.Dataquery) -> table.Panel:
    """Return a table of the present state."""
    panel = table.Panel().title(title).description(about).datasource(SOURCE).height(10).span(24).filterable(True)
    for each in queries:
        panel = panel.with_target(each)
    return panel.no_value("nothing")


def counted(title: str, about: str, target: prometheus.Dataquery, by: str) -> barchart.Panel:
    """Return a bar for each value of the label `by`, in numerical order."""
    panel = barchart.Panel().title(title).description(about).datasource(SOURCE).with_target(target).height(8).span(12)
    return (
        panel.transformations(
            [
                transformation("filterFieldsByName", {"include": {"names": [by, "Value"]}}),
                _converted(by, "number"),
                transformation("sortBy", {"sort": [{"field": by}]}),
                # Bars stand beside each other only where their subject is text.
                _converted(by, "string"),
            ]
        )
        .x_field(by)
        .legend(common.VizLegendOptions().show_legend(False).calcs([]))
    )


def columns(**names: str) -> list[model.DataTransformerConfig]:
    """Return the transformations that leave these columns, in this order, under the names given."""
    organized = {
        "renameByName": names,
        "indexByName": {name: index for index, name in enumerate(names)},
    }
    return [
        transformation("filterFieldsByName", {"include": {"names": list(names)}}),
        transformation("organize", organized),
    ]


def matrix(row: str, column: str) -> list[model.DataTransformerConfig]:
    """Return the transformation that makes a row and a column of two labels, and cells of the values."""
    options = {"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "empty"}
    return [transformation("groupingToMatrix", options)]


def transformation(name: str, options: Mapping[str, Any]) -> model.DataTransformerConfig:
    """Return a transformation."""
    return model.DataTransformerConfig(id_val=name, options=options)


def _converted(field: str, kind: str) -> model.DataTransformerConfig:
    return transformation("convertFieldType", {"conversions": [{"targetField": field, "destinationType": kind}]})


def prop(name: str, value: object) -> model.DynamicConfigValue:
    """Return a property for an override."""
    return model.DynamicConfigValue(id_val=name, value=value)


def colored(meaning: Meaning) -> list[model.DynamicConfigValue]:
    """Return the properties of cells that show `meaning` in its colours."""
    return [prop("mappings", words(meaning)), prop("custom.cellOptions", {"type": "color-background", "mode": "basic"})]


def colored_by(colors: Steps) -> list[model.DynamicConfigValue]:
    """Return the properties of cells whose colour depends on their number."""
    cells = {"type": "color-background", "mode": "basic"}
    return [prop("thresholds", steps(colors).build()), prop("custom.cellOptions", cells)]


def severity_column() -> list[model.DynamicConfigValue]:
    """Return the properties of cells that name a severity."""
    return [
        *colored(
            {
                "critical": ("critical", RED),
                "warning": ("warning", ORANGE),
                "notice": ("notice", BLUE),
                "informational": ("informational", BLUE),
            }
        ),
        prop("custom.width", 110),
    ]


def linked(title: str, url: str) -> list[model.DynamicConfigValue]:
    """Return the properties of cells that lead elsewhere."""
    return [prop("links", [{"title": title, "url": url}])]


def _legend() -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(True).calcs([])
    return legend.display_mode(common_model.LegendDisplayMode.LIST).placement(common_model.LegendPlacement.BOTTOM)


def _all() -> common.VizTooltipOptions:
    return (
        common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI).sort(common_model.SortOrder.DESCENDING)
    )


def new(uid: str, title: str, about: str) -> build.Dashboard:
    """Return an empty dashboard that links to the others, knows the data source and the daemons, and marks changes."""
    link = build.DashboardLink("Other dashboards of certvigil").type(model.DashboardLinkType.DASHBOARDS)
    jobs = several("job", "Job", "label_values(certvigil_build_info, job)")
    daemons = several("instance", "Instance", 'label_values(certvigil_build_info{job=~"$job"}, instance)')
    return (
        build.Dashboard(title)
        .uid(f"certvigil-{uid}")
        .description(about)
        .tags(["certvigil"])
        .timezone("browser")
        .time("now-24h", "now")
        .refresh("1m")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(link.tags(["certvigil"]).as_dropdown(False).include_vars(True).keep_time(True))
        .with_variable(build.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(jobs)
        .with_variable(daemons)
        .annotation(_mark("Replaced or activated", 'outcome="committed"', GREEN))
        .annotation(_mark("Undone", 'outcome=~"rolled_back|failed_forward|frozen"', RED))
    )


def variable(name: str, label: str, asked: str) -> build.QueryVariable:
    """Return a variable with the values that Prometheus gives."""
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(asked)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    )


def several(name: str, label: str, asked: str, every: str = ".+") -> build.QueryVariable:
    """Return a variable of which several values may be chosen, or all: the regular expression `every`."""
    chosen = model.VariableOption(text="All", value="$__all")
    return variable(name, label, asked).multi(True).include_all(True).all_value(every).current(chosen)


def components() -> build.QueryVariable:
    """Return the variable of components; all of them include what belongs to none."""
    asked = f'label_values(certvigil_target_info{{{ON}, component!=""}}, component)'
    return several("component", "Component", asked, ".*")


def _mark(name: str, outcomes: str, color: str) -> build.AnnotationQuery:
    expression = f"certvigil_action_last_timestamp_seconds{{{ON}, {outcomes}}} * 1000"
    return build.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color).expr(expression)
