/** Plotly with the traces that the page and its reports draw: what `npm run plotly` builds plotly.min.js of. */

import bar from "plotly.js/lib/bar";
import Plotly from "plotly.js/lib/core";
import heatmap from "plotly.js/lib/heatmap";

Plotly.register([bar, heatmap]); // scatter is in the core
globalThis.Plotly = Plotly;
