// Draws the view that the page's data asks for.

const given = JSON.parse(document.getElementById("data").textContent);
if (given.results.length) document.querySelector("header").append(about(given));
document.getElementById("main").append(VIEWS[given.view](given));
