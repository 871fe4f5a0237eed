# %% [markdown] lang="es"
# # El laboratorio: cuatro días de sistemas distribuidos
#
# Un sistema distribuido pequeño que funciona de verdad en tu computadora: lo ejecutas, lo rompes y lo mides.
# Cada día son **45 minutos guiados** y **una hora libre** con ejercicios que se revisan solos. Cada cuaderno se
# ejecuta de arriba abajo con `Mayús` + `Intro`, celda a celda.

# %% [markdown] lang="en"
# # The lab: four days of distributed systems
#
# A small distributed system that really runs on your laptop: you run it, break it and measure it. Each day
# is **45 guided minutes** and **one free hour** of exercises that check themselves. A notebook is run from top
# to bottom with `Shift` + `Enter`, cell by cell.

# %% [markdown] lang="es"
# ## Los cuatro días
#
# | día | tema | práctica | al acabar sabes |
# |---|---|---|---|
# | 1 | [Hilos](day1_threads.ipynb) | [práctica 1](practice_day1.ipynb) | cuándo esperar en paralelo ahorra tiempo, hasta dónde, y qué se rompe al compartir una variable |
# | 2 | [Procesos](day2_processes.ipynb) | [práctica 2](practice_day2.ipynb) | por qué a veces los hilos no aceleran nada, qué cuesta un proceso y qué predice la ley de Amdahl |
# | 3 | [Sistema distribuido](day3_distributed.ipynb) | [práctica 3](practice_day3.ipynb) | cómo un broker reparte trabajo entre workers y cómo se recupera todo cuando uno muere |
# | 4 | En producción | [práctica 4](practice_day4.ipynb) | cómo crece y encoge un sistema según la carga, cómo se vigila, y cómo se prueba antes de publicarlo |
#
# El día 4 tiene práctica, pero aún no cuaderno guiado. Lo que trata se puede probar además en una terminal:
# `python3 lab.py faults` y, con un clúster en marcha (`python3 lab.py up`), `python3 lab.py autoscale`.
#
# Los ejercicios también se hacen con un editor: `python3 lab.py practice` dice por dónde vas y qué sigue. Cuaderno y
# terminal comparten archivos y progreso.

# %% [markdown] lang="en"
# ## The four days
#
# | day | topic | practice | afterwards you know |
# |---|---|---|---|
# | 1 | [Threads](day1_threads.ipynb) | [practice 1](practice_day1.ipynb) | when waiting in parallel saves time, how far it goes, and what breaks when a variable is shared |
# | 2 | [Processes](day2_processes.ipynb) | [practice 2](practice_day2.ipynb) | why threads sometimes speed nothing up, what a process costs, and what Amdahl's law predicts |
# | 3 | [Distributed system](day3_distributed.ipynb) | [practice 3](practice_day3.ipynb) | how a broker hands work to workers, and how everything recovers when one of them dies |
# | 4 | In production | [practice 4](practice_day4.ipynb) | how a system grows and shrinks with its load, how it is watched, and how it is tested before it is released |
#
# Day 4 has practice, but no guided notebook yet. What it is about can also be tried in a terminal:
# `python3 lab.py faults` and, with a cluster up (`python3 lab.py up`), `python3 lab.py autoscale`.
#
# The exercises can be done with an editor, too: `python3 lab.py practice` shows how far you are and what comes next.
# Notebook and terminal share files and progress.

# %% [markdown] lang="es"
# ## Revisa tu máquina
#
# Ejecuta la celda. Cada línea muestra `bien`, `nota` (se puede seguir sin ello) o `FALLA`, y qué hacer en cada
# caso. En una terminal es `python3 lab.py doctor`. Docker no hace falta ningún día: donde algo lo usa, el
# cuaderno explica cómo hacerlo sin él.

# %% [markdown] lang="en"
# ## Check your machine
#
# Run the cell. Each line shows `ok`, `note` (you can go on without it) or `FAILS`, and what to do about it.
# In a terminal it is `python3 lab.py doctor`. No day needs Docker: where something uses it, the notebook
# shows how to do without.

# %% tags=["unstored"]
from labkit.classroom import check_machine

check_machine("{{lang}}")

# %% [markdown] lang="es"
# ## Si das la clase
#
# Cada día tiene su guía: el reloj, qué decir, qué preguntar, qué suele fallar y cómo salir del paso. La hora libre no
# necesita guía: los ejercicios se revisan solos, y `python3 lab.py practice grade CARPETA` revisa las entregas de un
# grupo.
#
# * [Día 1](day1_threads_teacher.md)
# * [Día 2](day2_processes_teacher.md)
# * [Día 3](day3_distributed_teacher.md)

# %% [markdown] lang="en"
# ## If you teach
#
# Each day has its guide: the clock, what to say, what to ask, what may go wrong and how to fix it. The free hour needs
# no guide: exercises check themselves, and `python3 lab.py practice grade FOLDER` checks the hand-ins of a class.
#
# * [Day 1](day1_threads_teacher.md)
# * [Day 2](day2_processes_teacher.md)
# * [Day 3](day3_distributed_teacher.md)

# %% [markdown] lang="es"
# ## Glosario
#
# Una palabra para cada cosa, en el código, en los mensajes y en los cuadernos. Son los términos del sistema
# distribuido: hacen falta desde el día 3. Los de los dos primeros días (hilo, proceso, cerrojo, GIL) se explican donde
# aparecen.
#
# {{glossary}}

# %% [markdown] lang="en"
# ## Glossary
#
# One word for each thing, in the code, in the messages and in the notebooks. These are the terms of the distributed
# system: you need them from day 3 on. Those of the first two days (thread, process, lock, GIL) are explained where they
# appear.
#
# {{glossary}}
