document.querySelectorAll("[data-opacity]").forEach(function (control) {
  var figure = control.closest("figure");
  var overlay = figure.querySelector(".over");
  var output = control.querySelector("output");
  var slider = control.querySelector("input");
  control.hidden = false;
  slider.addEventListener("input", function () {
    overlay.style.opacity = slider.value / 100;
    output.textContent = slider.value + "%";
  });
});
