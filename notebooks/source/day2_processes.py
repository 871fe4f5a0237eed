# %% [markdown] lang="es"
# # Día 2. Procesos: calcular muchas cosas a la vez
#
# **Al acabar sabrás** qué código acelera con hilos y cuál no, qué cuesta usar procesos, y cómo predecir hasta
# dónde puede acelerar un programa.
#
# **Duración**: 45 minutos guiados y una hora libre. **Antes de empezar**: el [día 1](day1_threads.ipynb).
# **Sin Docker**: hoy no hace falta; los procesos son de tu máquina.

# %% [markdown] lang="en"
# # Day 2. Processes: computing many things at once
#
# **Afterwards you know** which code threads speed up and which they do not, what processes cost, and how to
# predict how fast a program can become.
#
# **Time**: 45 guided minutes and one free hour. **Before you begin**: [day 1](day1_threads.ipynb).
# **Without Docker**: not needed today; the processes are your machine's.

# %% [markdown] lang="es" teacher=true
# **Antes de clase.** Ejecuta el cuaderno entero una vez y cierra lo que use el procesador (videollamadas,
# copias de seguridad): hoy se mide el cálculo, y cualquier otra actividad de la máquina se ve en la dispersión. Después
# `Kernel` → `Restart Kernel and Clear Outputs of All Cells`.
#
# **La idea del día en una frase.** No pienses «Python no puede usar varios núcleos»: mídelo. El GIL solo
# frena el código Python puro; OpenCV lo suelta mientras calcula.
#
# **Con dos núcleos o con dieciséis.** El cuaderno lee cuántos hay y elige hasta dónde medir. No prometas
# cifras: en la misma máquina, dos procesos en dos núcleos han dado de 0,9 a 2 veces la velocidad de uno.
#
# **Sin Docker.** Nada cambia: este día no lo usa.

# %% [markdown] lang="en" teacher=true
# **Before class.** Run the whole notebook once and close whatever uses the processor (video calls, backups):
# today we measure computing, and other activity of the machine shows in the spread. Then `Kernel` →
# `Restart Kernel and Clear Outputs of All Cells`.
#
# **The day's idea in one sentence.** Do not think "Python cannot use several cores": measure it. The GIL
# only slows pure Python code; OpenCV releases it while it computes.
#
# **With two cores or with sixteen.** The notebook reads how many there are and chooses how far to measure.
# Promise no figures: on the same machine, two processes on two cores have been 0.9 to 2 times as fast as one.
#
# **Without Docker.** Nothing changes: this day does not use it.

# %% [markdown] lang="es"
# ## Repaso y una primera victoria · 0–5 min
#
# Ayer los hilos **esperaban**. Hoy **calculan**. Primera victoria: el mismo trabajo en tres motores (de una en una,
# con hilos, con procesos) cambiando una sola palabra, y los mismos píxeles.

# %% [markdown] lang="en"
# ## Recap and a first win · 0–5 min
#
# Yesterday the threads **waited**. Today they **compute**. A first win: the same work on three engines (one after the
# other, threads, processes) by changing a single word, and the same pixels.

# %%
from labkit.classroom import begin, faster, gap, show, starting_bet

lesson = begin("{{lang}}")

# %%
from itertools import repeat

import numpy as np

from labkit import charts, open_executor, process_batch
from labkit.imaging import image_files
from labkit.imaging.filters import parse_steps, resize
from labkit.imaging.photos import bundled
from labkit.jobs import add, echo, process_image
from labkit.support.timing import calls_lasting, cores, doublings, in_threads
from labkit.support.timing import measured, measured_over, without_result

# %%
photos = [photo.array() for photo in bundled()[:6]]
results = {}
for engine in ("sequential", "threads", "processes"):
    with open_executor(engine, 1 if engine == "sequential" else 2) as executor:
        results[engine] = process_batch(executor, photos, ["sharpen", "edges"])

# %% holds="all(same)"
same = [np.array_equal(*pair) for engine in results for pair in zip(results["sequential"], results[engine])]
show(charts.pictures, {photo.name: image for photo, image in zip(bundled(), results["processes"])})
all(same)

# %% [markdown] lang="es" teacher=true
# **Di.** «Tres motores, una palabra de diferencia, los mismos píxeles. Lo que cambia es dónde se hace el
# trabajo y cuánto cuesta enviarlo allí.»
#
# **Pregunta.** Retoma la tercera pregunta de ayer: ¿qué cambia si los hilos calculan? (Recoge respuestas y déjala
# abierta: se mide en el bloque 1.)
#
# **Si falla.** La primera celda con procesos tarda más: cada proceso nuevo arranca un Python entero.

# %% [markdown] lang="en" teacher=true
# **Say.** "Three engines, one word of difference, the same pixels. What changes is where the work is done and
# what it costs to send it there."
#
# **Ask.** Go back to yesterday's third question: what changes if the threads compute? (Collect answers and leave it
# open: block 1 measures it.)
#
# **If it goes wrong.** The first cell with processes takes longer: each new process starts a whole Python.

# %% [markdown] lang="es"
# ## Bloque 1. ¿Quién tiene el GIL? · 5–15 min
#
# En cada proceso de Python hay un cerrojo, el **GIL**: solo el hilo que lo tiene ejecuta código Python. Un
# hilo que espera lo suelta (por eso ayer los hilos sirvieron). ¿Y uno que calcula? Depende de **qué código** hace el
# cálculo.
#
# Dos filtros: `vignette_python` es un bucle de Python, píxel a píxel; `blur` llama a OpenCV, escrito en C++.
# OpenCV trae sus propios hilos; los apagamos para contar solo los nuestros. `counts` dice qué números probaremos.

# %% [markdown] lang="en"
# ## Block 1. Who holds the GIL? · 5–15 min
#
# Every Python process has a lock, the **GIL**: only the thread that holds it runs Python code. A waiting
# thread releases it (that is why threads helped yesterday). And one that computes? That depends on **which code** does
# the computing.
#
# Two filters: `vignette_python` is a Python loop, pixel by pixel; `blur` calls OpenCV, which is written in
# C++. OpenCV has threads of its own; we turn them off, to count only ours. `counts` lists the numbers we will try.

# %%
import cv2

cv2.setNumThreads(1)
counts = doublings(min(2 * cores(), 8))
counts

# %% [markdown] lang="es"
# **Apuesta, para cada filtro por separado**: ¿cuántas veces más rápido irá con dos hilos? ¿Y con el máximo? Las
# dos apuestas de partida son la ideal, que no pasa de tus núcleos; escribe las tuyas: `guess["blur"][2] = 1.5`.

# %% [markdown] lang="en"
# **Bet, on each filter separately**: how many times as fast will it be with two threads? And with the most? Both
# starting bets are the ideal, which does not exceed your cores; write your own: `guess["blur"][2] = 1.5`.

# %%
guess = {
    "vignette_python": {n: starting_bet(min(n, cores())) for n in counts},
    "blur": {n: starting_bet(min(n, cores())) for n in counts},
}

# %% [markdown] lang="es"
# ¿Cuánto trabajo? Suficientes fotos para tener ocupado a **un** hilo de esta máquina unos 0,3 s: algo más corto no se
# puede medir mientras la máquina hace otras cosas. Los resultados no se guardan (`without_result`): pedir memoria
# nueva también cuesta tiempo, y un hilo puede tener que pedirla más veces que dos.

# %% [markdown] lang="en"
# How much work? Enough photos to keep **one** thread of this machine busy for about 0.3 s: anything shorter cannot be
# measured while the machine does other things. The results are not kept (`without_result`): asking for fresh memory
# costs time too, and one thread may have to ask more often than two.

# %%
work = {
    "vignette_python": resize(photos[0], 128, 96),
    "blur": resize(photos[0], 800, 800),
}
steps = {name: parse_steps([name]) for name in work}
compute = without_result(process_image)
many = {n: calls_lasting(0.3, lambda: compute(work[n], steps[n]), multiple=8) for n in work}
many

# %%
curves = {}
for name, image in work.items():
    jobs = [image] * many[name], repeat(steps[name])
    curves[name] = measured_over(counts, lambda n: in_threads(n, compute, *jobs), runs=5)

# %% holds="max(curves['vignette_python'][1].median / t.median for t in curves['vignette_python'].values()) < 1.5"
show(charts.speed_up, curves, "threads", guess, cores=cores())
for name, curve in curves.items():
    faster({1: curve[1], 2: curve[2]}, 1, name, cores())

# %% [markdown] lang="es"
# Lee la figura con su dispersión; las dos líneas de debajo la resumen. Los hilos de `vignette_python` se turnan el GIL:
# más hilos no lo aceleran, y lo que se aparta de 1 es dispersión o lo que cuesta turnarse. `blur` puede subir hasta donde haya núcleos **libres**: OpenCV
# suelta el GIL mientras calcula. No puede subir más: si un punto pasa de tus núcleos, la medida con un hilo salió
# lenta, porque otros programas la estorbaron. Con un solo núcleo las dos curvas se parecen. En una máquina ocupada
# también influyen los demás programas: la curva sube menos, y varios hilos (aun turnándose el GIL) pueden quitarles
# una parte del procesador y parecer más rápidos. La dispersión lo muestra: cierra lo que puedas y mide otra vez.
#
# La regla no es «los hilos no sirven para calcular», sino: **el código Python frena a los demás hilos; el cálculo,
# no**.
#
# **Punto de control**: ¿cuántas veces más rápido fue hoy `blur` con dos hilos? Está en la tabla.

# %% [markdown] lang="en"
# Read the figure with its spread; the two lines below sum it up. The threads of `vignette_python` take turns with the
# GIL: more of them do not speed it up, and what differs from 1 is spread, or the cost of taking turns. `blur` can rise
# as far as there are **free** cores:
# OpenCV releases the GIL while it computes. It cannot rise higher: if a point exceeds your cores, the run with one
# thread was slow, because other programs got in its way. With a single core the two curves look alike. On a busy
# machine other programs matter too: the curve rises less, and several threads (even taking turns with the GIL) may win a
# larger share of the processor from them and look faster. The spread shows it: close what you can, and measure again.
#
# The rule is not "threads are no good for computing". It is: **Python code blocks other threads; computing does not**.
#
# **Checkpoint**: how many times as fast was `blur` with two threads today? The table shows it.

# %%
blur_with_two = None
both = all(list(curve) == counts for curve in curves.values())
lesson.checkpoint(1, both, blur_with_two, curves["blur"][1].median / curves["blur"][2].median, within=0.02)

# %% [markdown] lang="es" teacher=true
# **Di.** Haz que apuesten por separado para cada filtro: `guess` tiene una apuesta de cada uno. Cuando vean las
# dos curvas, calla diez segundos.
#
# **Pregunta.** ¿Qué tendrías que mirar en una biblioteca para saber si tus hilos la aceleran? (Si suelta el GIL
# mientras calcula; si su documentación no lo dice, mide.) ¿Y NumPy? (Casi todas sus operaciones grandes sueltan el
# GIL.) Si hay línea de núcleos en la figura, ¿por qué la curva deja de subir ahí? (Más hilos se turnan los mismos
# núcleos.)
#
# **Si preguntan por `without_result`.** Antes se guardaban las 72 fotos de cada medida, y dos hilos en dos núcleos
# salían 2,4 veces más rápidos que uno. No era magia: un hilo tenía que tomar 33 000 páginas de memoria nueva y dos,
# 8 000, porque reutilizaban memoria ya liberada. **Una aceleración mayor que los núcleos es una pregunta, no un
# éxito**: ¿hicieron los dos el mismo trabajo?
#
# **Si falla.** Si las dos curvas se parecen, mira qué otros programas usan el procesador: es un buen momento para
# hablar de «núcleos libres». En un Python sin GIL (*free-threaded*) subirán las dos: muéstralo como curiosidad.

# %% [markdown] lang="en" teacher=true
# **Say.** Let them bet for each filter separately: `guess` holds one bet for each. When both curves are on screen,
# stay silent for ten seconds.
#
# **Ask.** What would you look for in a library to know whether your threads speed it up? (Whether it releases the
# GIL while it computes; if its documentation does not tell, measure.) And NumPy? (Most of its large operations release
# the GIL.) If the figure has a line for the cores, why does the curve stop rising there? (More threads take turns
# on the same cores.)
#
# **If they ask about `without_result`.** Earlier, the 72 pictures of each run were kept, and two threads on two cores
# came out 2.4 times as fast as one. No magic: one thread had to take 33,000 pages of fresh memory and two took 8,000,
# because they reused memory that had been freed. **A speed-up beyond the cores is a question, not a success**: did
# both do the same work?
#
# **If it goes wrong.** If the two curves look alike, check which other programs use the processor: a good moment for
# "free cores". On a Python without a GIL (*free-threaded*) both will rise: show it as a curiosity.

# %% [markdown] lang="es"
# ## Bloque 2. Procesos, y lo que cuesta viajar · 15–27 min
#
# Cada proceso tiene su propio Python y su propio GIL. El filtro de Python puro, otra vez con las mismas fotos: la
# referencia, con hilos y con procesos. Abrimos los procesos una vez y los usamos hasta el final. Con
# `chunksize=half` las fotos viajan en dos mitades: trabajan dos.

# %% [markdown] lang="en"
# ## Block 2. Processes, and what travelling costs · 15–27 min
#
# Every process has its own Python and its own GIL. The pure Python filter again, on the same photos: the baseline,
# with threads, and with processes. We open the processes once and use them until the end. With `chunksize=half`
# the photos travel in two halves: two processes work.

# %%
pool = lesson.open("pool", open_executor, "processes", max(counts))
vignette, half = steps["vignette_python"], many["vignette_python"] // 2
portraits = [work["vignette_python"]] * many["vignette_python"]
ways = {
    "sequential": lambda: [process_image(portrait, vignette) for portrait in portraits],
    "threads": lambda: in_threads(2, process_image, portraits, repeat(vignette)),
    "processes": lambda: list(pool.map(process_image, portraits, repeat(vignette), chunksize=half)),
}
print(measured(ways["processes"], runs=1, warm_up=0))

# %% [markdown] lang="es"
# Esa primera vez incluye arrancar los procesos. Ahora la referencia (la mediana; entre paréntesis, la menor, la mayor y
# cuántas veces se midió). **Apuesta** para las otras dos; las de partida son la mitad:

# %% [markdown] lang="en"
# That first time includes starting the processes. Now the baseline (the median; in brackets the shortest, the longest
# and the number of runs). **Bet** on the other two; the starting bets are half of it:

# %%
alone = measured(ways["sequential"], runs=3)
guess_ways = {way: starting_bet(alone.median / 2) for way in ("threads", "processes")}
print(alone)

# %% [markdown] lang="es"
# Medimos las tres por turnos, para que cualquier otra actividad de la máquina les afecte por igual:

# %% [markdown] lang="en"
# We measure all three in turns, so that other activity of the machine affects them all alike:

# %%
taken = measured_over(ways, lambda way: ways[way](), runs=5)
rows = [charts.Guessed(way, guess_ways.get(way), taken[way]) for way in ways]
show(charts.guesses, rows)
faster(taken, "sequential")

# %%
gap(rows[1])
gap(rows[2])

# %% [markdown] lang="es"
# Los procesos no se estorban con el GIL, pero solo ganan si hay núcleos libres y si el trabajo cuesta más que su
# transporte. Un proceso no ve tu memoria: todo se copia y se envía. ¿Puede viajar una función escrita en una celda?
# Aquí está roto a propósito. (Un *worker* calcula por encargo de otros; hoy es uno de los procesos.)

# %% [markdown] lang="en"
# Processes do not block each other with the GIL, but they only win if there are free cores and if the work costs
# more than its transport. A process does not see your memory: everything is copied and sent. Can a function written
# in a cell be sent? Here it is broken on purpose. (A *worker* computes on behalf of others; today, it is one of the
# processes.)

# %%
from labkit.core.errors import CannotTravel
from labkit.support.i18n import translate_error

try:
    pool.submit(lambda: 6 * 7)
except CannotTravel as error:
    print(translate_error(error))

# %% [markdown] lang="es"
# Viaja el **nombre** de la función, no su código: por eso las funciones de este curso viven en módulos. Y los datos,
# ¿cuánto cuestan? `echo` solo los lleva y los trae. **Apuesta**: ¿qué pasa con diez veces más megabytes? La apuesta de
# partida es un milisegundo por megabyte. (En las dos figuras que vienen, cada línea del eje vertical es diez veces la
# de abajo.)

# %% [markdown] lang="en"
# What travels is the **name** of the function, not its code: that is why the functions of this course live in modules.
# And what does data cost? `echo` only sends it there and back. **Bet**: what happens with ten times the megabytes? The
# starting bet is a millisecond for each. (In the next two figures each line of the vertical axis is ten times the one
# below.)

# %%
megabytes = [0.01, 0.1, 1, 10]
guess_travel = {m: starting_bet(m / 1000) for m in megabytes}

# %% holds="travel[0.1].median < 7 * travel[0.01].median and 2 * travel[1].median < travel[10].median"
arrays = {size: np.zeros(int(size * 1_000_000), np.uint8) for size in megabytes}
travel = measured_over(megabytes, lambda size: pool.submit(echo, arrays[size]).result(), runs=5)
show(charts.curve, {"echo": travel}, "megabytes", {"guess": guess_travel})

# %% [markdown] lang="es"
# Un mensaje diez veces mayor que el diminuto cuesta mucho menos que diez veces más: pagas el viaje. Los grandes
# cuestan según lo que pesan. De ahí el truco de **viajar juntos**: 300 sumas, de una en una o en grupos (`chunksize`).
# **Apuesta**: ¿desde qué tamaño deja de mejorar? La apuesta de partida supone que todo el tiempo es viaje.

# %% [markdown] lang="en"
# A message ten times as large as the tiny one costs far less than ten times as much: you pay for the journey. Large
# ones cost what they weigh. Hence the trick of **travelling together**: 300 additions, one by one or in groups
# (`chunksize`). **Bet**: from which size on does it stop getting better? The starting bet assumes that all the time
# is spent travelling.

# %%
sizes = [1, 4, 16, 64, 256]
single = measured(lambda: list(pool.map(add, range(300), repeat(1))))
guess_sizes = {size: starting_bet(single.median / size) for size in sizes}

# %% holds="tiny[16].median < tiny[4].median < tiny[1].median"
tiny = measured_over(sizes, lambda size: list(pool.map(add, range(300), repeat(1), chunksize=size)), runs=5)
show(charts.curve, {"add": tiny}, "chunksize", {"guess": guess_sizes})

# %% [markdown] lang="es"
# Con grupos se pagan menos viajes. Si un grupo es demasiado grande, un proceso se queda con casi todo y los demás no
# hacen nada; aquí apenas se nota, porque sumar no cuesta nada. Con fotos, sí.
#
# **Punto de control**: ¿cuántos milisegundos cuesta un viaje? Divide lo que tardan 300 sumas de una en una entre 300.

# %% [markdown] lang="en"
# With groups you pay for fewer journeys. If a group is too large, one process gets nearly everything and the others
# stand idle; here that hardly shows, because adding costs nothing. With photos it does.
#
# **Checkpoint**: how many milliseconds does one journey cost? Divide what 300 additions take one by one by 300.

# %%
journey_ms = None
same = list(pool.map(add, range(300), repeat(1), chunksize=16)) == list(range(1, 301))
lesson.checkpoint(2, same, journey_ms, 1000 * tiny[1].median / 300, within=0.1)

# %% [markdown] lang="es" teacher=true
# **Di.** «Un proceso es otro edificio: el trabajo tiene que salir a la calle.» Mañana el edificio será otra
# máquina, y todo lo de hoy seguirá valiendo.
#
# **Pregunta.** ¿Cuándo no compensa un proceso? (Cuando el viaje cuesta más que el trabajo, o no queda un núcleo libre.)
#
# **Si sobra tiempo.** ¿Por qué mandar el archivo JPEG y no la matriz de píxeles? (Pesa diez veces menos, y
# descomprimir también se reparte.)
#
# **Si falla.** Si los procesos salen más lentos que la referencia, no lo escondas: pregunta qué cuesta más, el
# trabajo o el viaje, y si quedaba algún núcleo libre.

# %% [markdown] lang="en" teacher=true
# **Say.** "A process is another building: the work has to go out into the street." Tomorrow the building is
# another machine, and everything from today still holds.
#
# **Ask.** When is a process not worth it? (When the journey costs more than the work, or no core is free.)
#
# **If there is time.** Why send the JPEG file and not the array of pixels? (It is a tenth of the size, and
# decompressing is shared out as well.)
#
# **If it goes wrong.** If processes come out slower than the baseline, do not hide it: ask which costs more,
# the work or the journey, and whether there was a free core.

# %% [markdown] lang="es"
# ## Bloque 3. Predecir: la ley de Amdahl · 27–35 min
#
# Un programa tiene una parte que va de una en una (aquí, abrir las fotos) y otra que se puede repartir (el
# filtro). Con n procesos, la primera no se acelera. La **ley de Amdahl** lo dice en una línea:
#
# tiempo(n) = parte en serie + parte repartible / n
#
# Medimos cada parte por separado, con un solo proceso. La celda muestra parte en serie + parte repartible:

# %% [markdown] lang="en"
# ## Block 3. Predicting: Amdahl's law · 27–35 min
#
# A program has one part that goes step by step (here: opening the photos) and one that can be shared out (the
# filter). With n processes the first part gets no faster. **Amdahl's law** puts it in one line:
#
# time(n) = serial part + parallel part / n
#
# We measure each part by itself, with a single process. The cell prints serial part + parallel part:

# %% holds="serial.median > 0.01 and parallel.median > serial.median"
files = [photo.bytes() for photo in bundled()[:8]]
thumbs = [resize(image_files.decode(file), 192, 144) for file in files]
serial = measured(lambda: [resize(image_files.decode(file), 192, 144) for file in files], runs=5)
parallel = measured(lambda: list(map(process_image, thumbs, repeat(vignette))), runs=5)
predicted = {n: serial.median + parallel.median / n for n in counts}
print(f"{serial} + {parallel}")

# %% [markdown] lang="es"
# Ahora el programa entero. Repartir en n grupos pone a trabajar a n procesos:

# %% [markdown] lang="en"
# Now the whole program. Splitting it into n groups puts n processes to work:

# %%
from labkit.classroom.amdahl import open_and_filter

whole = measured_over(counts, lambda n: open_and_filter(pool, files, vignette, groups=n), runs=5)
show(charts.curve, {"open_and_filter": whole}, "processes", {"amdahl": predicted}, cores=cores())

# %%
amdahl = {n: predicted[1] / predicted[n] for n in counts}
ideal = {n: n for n in counts}
show(charts.speed_up, {"open_and_filter": whole}, "processes", {"amdahl": amdahl, "ideal": ideal}, cores=cores())

# %% [markdown] lang="es"
# ¿Por qué lo medido no coincide con Amdahl? La ley ignora cuatro cosas: que el trabajo viaja, que tus núcleos son
# limitados (la línea vertical; si tienes más de ocho, cae fuera de la figura), que comparten la memoria y a veces más,
# y que la máquina hace otras cosas. **La predicción es el mejor caso, no una promesa: un suelo para el tiempo y un techo
# para la aceleración**. Si un punto es mejor, recuerda que la predicción también se midió y tiene su dispersión. Si
# supera incluso a la ideal, la medida con un proceso salió lenta: mira su dispersión.
#
# **Punto de control**: ¿cuántos segundos predice la ley, con tus dos partes, para **tres** procesos?

# %% [markdown] lang="en"
# Why does the measurement differ from Amdahl? The law ignores four things: that work travels, that the number of cores
# is limited (the vertical line; with more than eight it lies outside the figure), that cores share memory and
# sometimes more, and that the machine does other things as well. **The prediction is the best case, not a promise: a
# floor for the time, and a ceiling for the speed-up**. If a point is better, remember that the prediction was measured
# too, and has a spread. If it even beats the ideal, the run with one process was slow: look at its spread.
#
# **Checkpoint**: how many seconds does the law predict, with your two parts, for **three** processes?

# %%
with_three_s = None
shared = open_and_filter(pool, files, vignette, groups=max(counts))
same = all(map(np.array_equal, shared, map(process_image, thumbs, repeat(vignette))))
lesson.checkpoint(3, same, with_three_s, serial.median + parallel.median / 3, within=0.1)

# %% [markdown] lang="es" teacher=true
# **Di.** Escribe la línea de Amdahl en la pizarra antes de ejecutar nada y calcula a mano el caso n = 2 con
# los números de la clase.
#
# **Pregunta.** Si la parte en serie es un 10 %, ¿cuál es la aceleración máxima con infinitos procesos? (Diez.)
# ¿Qué harías antes: comprar núcleos o acortar la parte en serie? (Medir: más núcleos no tocan la parte en serie, y
# cuanto mayor es, antes dejan de ayudar.)
#
# **Si falla.** En una máquina ocupada el tiempo medido suele quedar por encima de la predicción (y la aceleración, por
# debajo) y con mucha dispersión. Esa es la lección: muestra la dispersión.

# %% [markdown] lang="en" teacher=true
# **Say.** Write Amdahl's line on the board before running anything, and work out n = 2 by hand with the
# class's numbers.
#
# **Ask.** If the serial part is 10 %, how fast can it get with infinitely many processes? (Ten times.) What
# would you do first: buy cores, or shorten the serial part? (Measure first: more cores leave the serial part as it is,
# and the larger it is, the sooner they stop helping.)
#
# **If it goes wrong.** On a busy machine the measured time usually lies above the prediction (and the speed-up
# below it), with much spread. That is the lesson: show the spread.

# %% [markdown] lang="es"
# ## Comprobación: a la caza de un error · 35–42 min
#
# Este código cuenta las fotos ya hechas en una lista del módulo. Con hilos funcionaba. Con procesos el trabajo se
# hace, pero la lista sale vacía. ¿Dónde están los números?

# %% [markdown] lang="en"
# ## Check: a bug hunt · 35–42 min
#
# This code counts the finished photos in a list of the module. With threads it worked. With processes the work
# is done, but the list is empty. Where are the numbers?

# %%
from labkit.classroom import memory, source

source(memory.remember)

# %% holds="(with_threads, len(memory.seen)) == (6, 0)"
in_threads(2, memory.remember, range(6))
with_threads = len(memory.seen)
memory.seen.clear()
where = list(pool.map(memory.remember, range(6)))
with_threads, len(memory.seen)

# %% [markdown] lang="es"
# <details><summary>¿Ya lo tienes? La respuesta</summary>
#
# Están en los otros procesos: cada uno tiene **su** copia del módulo y de la lista. Ayer el problema era que
# los hilos comparten la memoria; hoy, que los procesos no comparten ninguna. El arreglo: **devolver** resultados en vez
# de anotarlos. ¿Cuántas respuestas volvieron, y de cuántos procesos distintos? La celda que sigue, plegada, lo cuenta.
#
# </details>

# %% [markdown] lang="en"
# <details><summary>Found it? The answer</summary>
#
# They are in the other processes: each has **its own** copy of the module and of the list. Yesterday's
# problem was that all threads share one memory; today's is that processes share none. The fix: **return** results
# instead of noting them down. How many answers came back, and from how many different processes? The next cell,
# folded, counts them.
#
# </details>

# %% tags=["answer"]
len(where), len(set(where))

# %% [markdown] lang="es" teacher=true
# **Di.** Deja que busquen el error en la función. No tiene ninguno: el error está en dónde se ejecuta.
#
# **Pregunta.** ¿Qué devolverá `os.getpid()` en cada caso? (Con hilos, siempre el mismo número; con procesos, el del que
# hizo cada foto.) ¿Cuántos números de proceso distintos puede haber? (Como mucho, tantos como procesos abrimos.)
#
# **Si falla.** Si alguien propone «pues una lista compartida», acéptalo, y pregunta dónde estaría el cerrojo.

# %% [markdown] lang="en" teacher=true
# **Say.** Let them look for the bug in the function. It has none: the bug is where it runs.
#
# **Ask.** What will `os.getpid()` return in each case? (With threads always the same number; with processes that of
# the one that did each photo.) How many different process numbers can there be? (At most as many as we opened.)
#
# **If it goes wrong.** If a student suggests "a shared list, then", accept it, and ask where its lock would live.

# %% [markdown] lang="es"
# ## Resumen y avance · 42–45 min
#
# **Tres hechos**
#
# 1. El GIL frena a los hilos que ejecutan Python; OpenCV lo suelta y sí acelera con hilos.
# 2. Un proceso tiene su propia memoria: todo lo que va y viene se copia, y eso cuesta tiempo.
# 3. Lo que no se puede repartir pone un techo a la aceleración (Amdahl); los núcleos y el transporte, otro más bajo.
#
# **Tres preguntas**
#
# 1. Tienes un filtro lento. ¿Qué medirías para elegir entre hilos y procesos?
# 2. ¿Por qué un `chunksize` enorme puede ser peor que uno pequeño?
# 3. ¿Qué pasa hoy si uno de los procesos muere a mitad del trabajo?
#
# La tercera es la de mañana, con un sistema que lo nota, lo repite y no pierde nada: [Día 3, sistema
# distribuido](day3_distributed.ipynb).

# %% [markdown] lang="en"
# ## Recap and preview · 42–45 min
#
# **Three facts**
#
# 1. The GIL slows threads that run Python; OpenCV releases it, and does get faster with threads.
# 2. A process has a memory of its own: everything that goes there and back is copied, and that costs time.
# 3. The part that cannot be shared out puts a ceiling on the speed-up (Amdahl); cores and transport, a lower one.
#
# **Three questions**
#
# 1. You have a slow filter. What would you measure to choose between threads and processes?
# 2. Why can a huge `chunksize` be worse than a small one?
# 3. What happens today if one of the processes dies in the middle of the work?
#
# The third is tomorrow's, with a system that notices, repeats, and loses nothing: [Day 3, distributed
# system](day3_distributed.ipynb).

# %% [markdown] lang="es" teacher=true silent=1
# **Di.** Que cada pareja conteste una de las tres preguntas en una frase. Deja la tercera abierta.

# %% [markdown] lang="en" teacher=true silent=1
# **Say.** Let each pair answer one of the three questions in one sentence. Leave the third open.

# %% [markdown] lang="es"
# ## La hora libre
#
# Los ejercicios están en la [práctica del día 2](practice_day2.ipynb); el veredicto aparece debajo de cada celda.
#
# * **Imprescindible**: 6, ¿espera, retiene o suelta el GIL?; 7, una función que otros procesos encuentran; 8, lotes.
# * **Objetivo**: 9, un error en una tarea, y lo demás sigue.
# * **Para ir más allá**: 10, predice antes de medir.
#
# Cuando acabes, escribe `finished = True`: la celda cierra los procesos y comprueba que no queda nada.

# %% [markdown] lang="en"
# ## The free hour
#
# The exercises are in the [practice for day 2](practice_day2.ipynb); the verdict appears below each cell.
#
# * **Must**: 6, does it wait, hold or release the GIL?; 7, a function that other processes can find; 8, chunks.
# * **Target**: 9, an error in one task, and the rest goes on.
# * **Stretch**: 10, predict before you measure.
#
# When you have finished, write `finished = True`: the cell closes the processes and checks that nothing is left.

# %%
finished = False
lesson.keep("pool", until=finished)
lesson.end()

# %% [markdown] lang="es" teacher=true
# **Tres niveles.** Lo imprescindible cabe en media hora. El objetivo separa el error de una tarea de la suerte de las
# demás: en un pool de procesos de Python, un proceso muerto rompe el grupo entero (`BrokenProcessPool`), y es el mejor
# prólogo del día 3. Ir más allá pide entender la ley de Amdahl.

# %% [markdown] lang="en" teacher=true
# **Three levels.** The must fits into half an hour. The target keeps the error of one task apart from the fate of the
# others: in Python's process pool one dead process breaks the whole pool (`BrokenProcessPool`), and there is no better
# prologue to day 3. The stretch needs Amdahl's law to be understood.
