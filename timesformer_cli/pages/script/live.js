function live() { return el("div"); }
