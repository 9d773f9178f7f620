// Draws the charts. Without it the page has the same numbers in its tables.
(() => {
	"use strict";
	const stories = JSON.parse(document.getElementById("data").textContent);
	const dark = matchMedia("(prefers-color-scheme: dark)");
	const root = document.documentElement;
	root.classList.add("scripts");
	for (const d of document.querySelectorAll("figure details")) d.open = false;

	// A strategy has one colour and one symbol in all charts. Those for hot rows have those of their relative, with dashes and
	// hollow.
	const colours = {
		"unsafe": ["#c0262d", "#ff7b78"],
		"atomic": ["#157347", "#58c98b"],
		"atomic-coalesced": ["#157347", "#58c98b"],
		"pessimistic": ["#1f5fbf", "#7fb2ff"],
		"optimistic": ["#b45f06", "#f5b04c"],
		"optimistic-coalesced": ["#b45f06", "#f5b04c"],
		"redis-lock": ["#7b3fb5", "#c79bf2"],
		"redlock": ["#00798a", "#4fd0de"],
		"transaction": ["#00798a", "#4fd0de"],
		"idempotency": ["#7b3fb5", "#c79bf2"],
	};
	const points = {
		"unsafe": "crossRot", "atomic": "circle", "atomic-coalesced": "circle", "pessimistic": "rect", "optimistic": "triangle",
		"optimistic-coalesced": "triangle", "redis-lock": "rectRot", "redlock": "star", "transaction": "cross", "idempotency": "rectRot",
	};
	const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();

	const legend = () => ({ position: "bottom", labels: { usePointStyle: true, boxHeight: 8, color: css("--ink") } });
	const axis = (title, more) => ({
		title: { display: true, text: title, color: css("--soft") }, ticks: { color: css("--soft") }, grid: { color: css("--line") }, ...more,
	});

	const kinds = {
		sold: (story) => ({
			type: "bar",
			data: {
				labels: story.strategies.map((s) => s.name),
				datasets: [
					{ label: `up to the ${story.stock} there are`, data: story.strategies.map((s) => Math.min(s.sold, story.stock)), backgroundColor: css("--good") },
					{ label: "beyond", data: story.strategies.map((s) => Math.max(0, s.sold - story.stock)), backgroundColor: css("--card"), borderColor: css("--bad"), borderWidth: 2 },
				],
			},
			options: {
				indexAxis: "y",
				plugins: { legend: { position: "bottom", labels: { boxWidth: 14, color: css("--ink") } } },
				scales: { x: axis(story.column, { stacked: true, beginAtZero: true }), y: { stacked: true, ticks: { color: css("--ink"), autoSkip: false }, grid: { display: false } } },
			},
		}),
		rate: (story) => lines(story, "rates", "answers per second", { beginAtZero: true }),
		wait: (story) => lines(story, "waits", "milliseconds, logarithmic", {
			type: "logarithmic",
			ticks: { color: css("--soft"), callback: (v) => (/^[125]/.test(String(v)) || v < 1 ? v.toLocaleString("en") : "") },
		}),
	};

	function lines(story, field, title, more) {
		return {
			type: "line",
			data: {
				labels: story.sizes,
				datasets: story.strategies.map((s) => {
					const hollow = s.name.endsWith("coalesced");
					const colour = (colours[s.name] || ["#59637a", "#a3adbf"])[dark.matches ? 1 : 0];
					return {
						label: s.name, data: s[field], borderColor: colour, backgroundColor: colour, pointStyle: points[s.name] || "rectRounded",
						pointBackgroundColor: hollow ? css("--card") : colour, pointRadius: 5, pointBorderWidth: 2, borderWidth: 2, borderDash: hollow ? [6, 4] : [],
					};
				}),
			},
			options: {
				interaction: { mode: "index", intersect: false },
				plugins: { legend: legend() },
				scales: { x: axis(`${story.buyer}s at once`), y: axis(title, more) },
			},
		};
	}

	let charts = [];
	function draw() {
		for (const c of charts) c.destroy();
		charts = [...document.querySelectorAll("canvas[data-chart]")].map((canvas) => {
			const config = kinds[canvas.dataset.chart](stories[canvas.dataset.story]);
			Object.assign(config.options, { animation: false, responsive: true, maintainAspectRatio: false });
			return new Chart(canvas, config);
		});
	}
	draw();
	dark.addEventListener("change", draw);
})();
