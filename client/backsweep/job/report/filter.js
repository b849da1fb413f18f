"use strict";
(function () {
  var form = document.getElementById("filter"), shown = document.getElementById("shown");
  var cases = Array.prototype.slice.call(document.querySelectorAll("details.case"));
  function apply() {
    var words = form.elements.words.value.toLowerCase(), kinds = {}, count = 0;
    form.querySelectorAll("input[type=checkbox]").forEach(function (box) { kinds[box.value] = box.checked; });
    cases.forEach(function (one) {
      var name = one.querySelector(".name").textContent.toLowerCase();
      one.hidden = !kinds[one.classList[1]] || name.indexOf(words) < 0;
      count += one.hidden ? 0 : 1;
    });
    shown.textContent = count + " of " + cases.length + " shown";
  }
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  window.addEventListener("beforeprint", function () { cases.forEach(function (one) { one.open = true; }); });
  apply();
})();
