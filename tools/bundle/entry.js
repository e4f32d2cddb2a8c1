// The names by which page.js knows the libraries. Next: ../../minigrad/explain/page.js.
export {Graph, layout} from "@dagrejs/dagre";
export {axisBottom} from "d3-axis";
export {scaleLinear} from "d3-scale";
export {select} from "d3-selection";
export {curveBasis, line} from "d3-shape";
export {zoom, zoomIdentity} from "d3-zoom";
